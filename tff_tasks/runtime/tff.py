"""Runs a learning process on TFF's own C++ runtime: the reference that every other runtime is compared with."""

import atexit
import os
from typing import Any

import grpc
import tensorflow_federated as tff

from tff_tasks.population import client_data
from tff_tasks.runtime import contexts
from tff_tasks.runtime import runtime
from tff_tasks.runtime import secure_sums
from tff_tasks.runtime import server

_BINARY = os.path.join(os.path.dirname(tff.__file__), 'data', 'worker_binary')
_MOST_MESSAGE_BYTES = 2_000_000_000  # As TFF has it.


class TffRuntime:
  """A `Runtime` of TFF's `worker_binary`, a server that this process starts and has to end.

  Args:
    process: What to run.
  """

  def __init__(self, process: tff.learning.templates.LearningProcess) -> None:
    self._process = process
    self.settled: dict[str, Any] = {}
    self._server = server.Server(_BINARY)
    self.choice = '' if self._server.is_private else server.IS_OPEN
    limits = [(f'grpc.max_{way}_message_length', _MOST_MESSAGE_BYTES) for way in ('receive', 'send')]
    self._channel = grpc.insecure_channel(self._server.target, limits)
    self._stub = tff.framework.RemoteExecutorGrpcStub(self._channel)
    # The same context as `set_sync_local_cpp_execution_context` makes, but for who starts the server.
    context = tff.framework.SyncExecutionContext(
      tff.framework.ResourceManagingExecutorFactory(self._connect),
      lambda computation: tff.backends.native.desugar_and_transform_to_native(secure_sums.make_plain(computation)),
      transform_args=tff.tensorflow.transform_args,
      transform_result=tff.tensorflow.transform_result,
    )
    tff.framework.set_default_context(context)
    # An exit need not wait until the keeper finds its standard input ended.
    atexit.register(self.close)

  def _connect(self, cardinalities: Any) -> tff.framework.RemoteExecutor:
    """Returns an executor for so many clients.

    TFF calls it again after each error of the connection, without end: a server that has ended has to end the run.

    Raises:
      ValueError: If the server has ended.
    """
    if not self._server.is_alive:
      raise ValueError(
        "Expected TFF's server to run, found that it ended: repeat the command to go on after the last checkpoint. "
        'If it ends again, take a machine with more memory, or train with --runtime=local in a new --output_dir.'
      )
    executor = tff.framework.RemoteExecutor(self._stub)
    executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
    return executor

  def initialize(self) -> Any:
    """Returns the state of round 0."""
    return self._process.initialize()

  def prepare(self, state: Any, cohort: client_data.Cohort) -> None:
    """Does nothing: TFF's server gets a round as a whole."""

  def next(
    self, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None = None
  ) -> runtime.RoundResult:
    """Runs one round; all of its clients are in memory."""
    del upcoming
    datasets: dict[int, client_data.ClientDataset] = {}
    unreadable = []
    for place, client in enumerate(cohort.clients.tolist()):
      try:
        datasets[client] = cohort.load(place)
      except ValueError as error:
        unreadable.append(client_data.ClientError(client, str(error)))
    output = self._process.next(state, [[dataset] for dataset in datasets.values()])
    return runtime.finish_round(output.state, output.metrics, unreadable)

  def close(self) -> None:
    """Ends the server."""
    contexts.forget_server()
    # First: a channel that sees its server end starts a thread, which at the end of Python is a segmentation fault.
    self._channel.close()
    self._server.close()
