"""Runs a learning process on TFF's own C++ runtime: the reference that every other runtime is compared with."""

import atexit
from collections.abc import Sequence
import contextlib
from typing import Any

import psutil
import tensorflow_federated as tff

from tff_tasks import client_data
from tff_tasks.runtime import runtime

_SECONDS_TO_END = 5


class TffRuntime:
  """A `Runtime` of TFF's `worker_binary`, a server that this process starts and has to end.

  Args:
    process: What to run.
  """

  def __init__(self, process: tff.learning.templates.LearningProcess) -> None:
    self._process = process
    tff.backends.native.set_sync_local_cpp_execution_context()
    # Left to itself the server outlives a Python that ends by an exception or a signal.
    atexit.register(self.close)

  def initialize(self) -> Any:
    """Returns the state of round 0."""
    return self._process.initialize()

  def next(self, state: Any, clients: Sequence[client_data.LoadClient]) -> runtime.RoundResult:
    """Runs one round."""
    output = self._process.next(state, [[load()] for load in clients])
    return runtime.RoundResult(output.state, output.metrics)

  def close(self) -> None:
    """Ends the server."""
    servers = [child for child in psutil.Process().children() if _is_server(child)]
    for server in servers:
      with contextlib.suppress(psutil.NoSuchProcess):
        server.terminate()
    _, alive = psutil.wait_procs(servers, timeout=_SECONDS_TO_END)
    for server in alive:
      with contextlib.suppress(psutil.NoSuchProcess):
        server.kill()


def _is_server(child: psutil.Process) -> bool:
  try:
    return child.name() == 'worker_binary'
  except psutil.NoSuchProcess:
    return False
