"""Runs a learning process on TFF's own C++ runtime: the reference that every other runtime is compared with."""

import atexit
import contextlib
import time
from typing import Any

import psutil
import tensorflow_federated as tff

from tff_tasks import client_data
from tff_tasks.runtime import contexts
from tff_tasks.runtime import runtime
from tff_tasks.runtime import watchdog

_SECONDS_TO_END = 5


class TffRuntime:
  """A `Runtime` of TFF's `worker_binary`, a server that this process starts and has to end.

  The server has no option for the address that it listens on: it is open to the network, without authentication.

  Args:
    process: What to run.
  """

  use_xla: bool | None = None
  choice = (
      "TFF's server listens on all interfaces without authentication: use --runtime=tff on a machine whose ports are "
      'closed to others.'
  )

  def __init__(self, process: tff.learning.templates.LearningProcess) -> None:
    self._process = process
    self._watchdog = watchdog.start()
    tff.backends.native.set_sync_local_cpp_execution_context()
    # Left to itself the server outlives a Python that ends by an exception or a signal; a kill is for the watchdog.
    atexit.register(self.close)

  def initialize(self) -> Any:
    """Returns the state of round 0."""
    return self._process.initialize()

  def next(
      self, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None = None
  ) -> runtime.RoundResult:
    """Runs one round; all of its clients are in memory."""
    del upcoming
    datasets: dict[int, client_data.ClientDataset] = {}
    left_out = []
    for place, client in enumerate(cohort.clients.tolist()):
      try:
        datasets[client] = cohort.load(place)
      except ValueError as error:
        left_out.append(client_data.ClientError(client, str(error)))
    output = self._process.next(state, [[dataset] for dataset in datasets.values()])
    if output.metrics['aggregator']['sums']['rejected']:
      rejected = (client for client, dataset in datasets.items() if self._is_rejected(state, dataset))
      left_out += [client_data.ClientError(client, runtime.NOT_FINITE) for client in rejected]
    return runtime.RoundResult(output.state, output.metrics, left_out)

  def _is_rejected(self, state: Any, dataset: client_data.ClientDataset) -> bool:
    """Runs a round of one: the sums of a whole cohort do not say who of them it was."""
    return bool(self._process.next(state, [[dataset]]).metrics['aggregator']['sums']['rejected'])

  def close(self) -> None:
    """Ends the server."""
    servers = [child for child in psutil.Process().children() if _is_server(child)]
    for server in servers:
      with contextlib.suppress(psutil.NoSuchProcess):
        server.terminate()
    deadline = time.monotonic() + _SECONDS_TO_END
    while any(map(_is_alive, servers)) and time.monotonic() < deadline:
      time.sleep(0.01)
    for server in filter(_is_alive, servers):
      with contextlib.suppress(psutil.NoSuchProcess):
        server.kill()
    # Last: TFF interrupts its server and waits, for ever if it does not heed interrupts, as in the background.
    contexts.forget_server()
    if self._watchdog.stdin and not self._watchdog.stdin.closed:
      self._watchdog.stdin.close()
      self._watchdog.wait()


def _is_alive(server: psutil.Process) -> bool:
  try:
    return server.status() != psutil.STATUS_ZOMBIE
  except psutil.NoSuchProcess:
    return False


def _is_server(child: psutil.Process) -> bool:
  try:
    return child.name() == watchdog.SERVER
  except psutil.NoSuchProcess:
    return False
