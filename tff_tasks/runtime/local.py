"""Runs a learning process in this process: its compiled parts as resident functions, clients spread over threads.

TFF compiles the process to its MapReduceForm (prepare, work, zero, accumulate, merge, report, update); the parts mean
what TFF says, and only who calls them is ours: a block of clients is one call.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.population import client_data
from tff_tasks.runtime import accumulators
from tff_tasks.runtime import block_training
from tff_tasks.runtime import blocks
from tff_tasks.runtime import graph_import
from tff_tasks.runtime import partial_sums
from tff_tasks.runtime import runtime
from tff_tasks.runtime import secure_sums
from tff_tasks.runtime import session_call
from tff_tasks.runtime import tff_structures
from tff_tasks.runtime import workers as workers_lib
from tff_tasks.runtime import xla

USE_XLA = 'use_xla'  # In what is settled.
_COMPILED = 'Clients train compiled by XLA.'
CANNOT_COMPILE = 'Clients train without XLA, which cannot compile this model.'
_NOT_COMPILED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)


class LocalRuntime:
  """A `Runtime` of threads.

  Sums of floats depend on the cohort alone: blocks are made of neighbors in it and added in their order, however many
  threads there are.

  Attributes:
    use_xla: Whether XLA compiles the client's work.
    choice: Why so, for people to read; empty if it was given.

  Args:
    process: What to run. Its client data must be a sequence of one `ClientDataset`.
    use_xla: As above; None to do so unless XLA is slow for an operation in it or cannot compile it.
    num_threads: Blocks that train at the same time; by default one a core.
  """

  def __init__(
    self, process: tff.learning.templates.LearningProcess, use_xla: bool | None = None, num_threads: int | None = None
  ) -> None:
    # Without Grappler, which would turn loops into a form that can neither be imported nor compiled by XLA.
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    self._form = tff.backends.mapreduce.get_map_reduce_form_for_computation(
      secure_sums.make_plain(process.next), config
    )
    initialize = tff.backends.mapreduce.get_state_initialization_computation(process.initialize, config)
    # The compiled parts have lost the Python containers that the process names.
    self._state_type = process.initialize.type_signature.result
    self._result_type = process.next.type_signature.result
    self._initialize = _resident(initialize)
    self._prepare = _resident(self._form.prepare)
    self._leaves = accumulators.split(self._form)
    self._merge = partial_sums.Merge(self._form, self._leaves)
    self._is_given, self.choice = use_xla is not None, ''
    if use_xla is None:
      slow = xla.find_slow(graph_import.read_graph(self._form.work).graph_def)
      use_xla = not slow
      self.choice = f'Clients train without XLA, which is slow for {slow}.' if slow else _COMPILED
    self.use_xla = use_xla
    # What trains a block, and what compiles it.
    self._begun: tuple[block_training.BlockWork, futures.Future[Any]] | None = None
    self._block_work: block_training.BlockWork | None = None
    self._workers = workers_lib.Workers(num_threads)
    # One thread reads faster than two train, and what is read too early has left the cache again.
    num_threads = self._workers.num_threads
    self._reader = blocks.BlockReader(max(1, num_threads // 2), num_ahead=num_threads)

  @property
  def settled(self) -> dict[str, Any]:
    """Whether XLA compiles the client's work; empty while that was not given and may not be possible."""
    return {USE_XLA: self.use_xla} if self._is_given or self._block_work else {}

  @functools.cached_property
  def _report_and_update(self) -> session_call.Function:
    """The call `(flat state, flat sum) -> flat (state, metrics)`; built while the clients' work is compiled."""
    report, update = (graph_import.import_computation(part) for part in (self._form.report, self._form.update))
    state, total = (
      tff_structures.specs(part.type_signature.parameter) for part in (self._form.prepare, self._form.report)
    )
    return session_call.make_resident(
      lambda *arguments: update([*arguments[: len(state)], *report(arguments[len(state) :])]), [*state, *total]
    )

  def initialize(self) -> Any:
    """Returns the state of round 0."""
    return tff_structures.pack(self._initialize(), self._state_type)

  def prepare(self, state: Any, cohort: client_data.Cohort) -> None:
    """Begins to compile what trains the clients; `next` waits for it."""
    if len(cohort):
      self._begin(cohort, self._prepare(*tff_structures.flatten(state, self._state_type)))

  def next(
    self, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None = None
  ) -> runtime.RoundResult:
    """Runs one round; in memory are the examples of a few blocks of clients, and what is gathered of all."""
    flat_state = tff_structures.flatten(state, self._state_type)
    context = self._prepare(*flat_state)
    unreadable: list[client_data.ClientError] = []

    def train_all() -> Iterator[list[np.ndarray]]:
      for total, errors in self._workers.in_order(self._tasks(cohort, upcoming, context)):
        unreadable.extend(errors)
        if total:
          yield total

    outputs = self._report_and_update(*flat_state, *self._merge(train_all()))
    new_state, metrics = tff_structures.pack(_detach(outputs, flat_state), self._result_type)
    return runtime.finish_round(new_state, metrics, unreadable)

  def close(self) -> None:
    """Ends the threads."""
    self._reader.close()
    self._workers.close()

  def _tasks(
    self, cohort: client_data.Cohort, upcoming: client_data.Cohort | None, context: list[np.ndarray]
  ) -> Iterator[Callable[[], Any]]:
    """Yields what trains each block, which was begun to be read meanwhile."""
    for loading in self._reader.read(cohort, upcoming):
      yield functools.partial(self._train, self._compiled(cohort, context), cohort, loading, context)

  def _train(
    self,
    work: block_training.BlockWork,
    cohort: client_data.Cohort,
    loading: 'futures.Future[blocks.Block]',
    context: list[np.ndarray],
  ) -> tuple[list[np.ndarray], list[client_data.ClientError]]:
    """Returns the sum of a block, empty if none of its clients could be read, and who could not."""
    block = loading.result()
    if not block.clients:
      return [], block.errors
    # Not by the reader, which may be ahead by a round.
    cohort.load_state(block.clients, block.arrays)
    total = work(block, context)
    self._reader.free(block)
    return total, block.errors

  def _begin(
    self, cohort: client_data.Cohort, context: list[np.ndarray]
  ) -> tuple[block_training.BlockWork, 'futures.Future[Any]']:
    """Returns what trains a block, and what compiles it: a call with a block of nobody, in the shapes of a cohort."""
    if self._begun is None:
      work = block_training.BlockWork(self._form, self._leaves, self.use_xla)
      self._begun = work, self._workers.submit(functools.partial(work, blocks.empty(cohort), context))
    return self._begun

  def _compiled(self, cohort: client_data.Cohort, context: list[np.ndarray]) -> block_training.BlockWork:
    """Returns what trains a block.

    Raises:
      ValueError: If XLA was asked for, and cannot compile it.
    """
    if self._block_work is None:
      work, compiling = self._begin(cohort, context)
      try:
        compiling.result()
      except _NOT_COMPILED as error:
        if not self.use_xla:
          raise
        if self._is_given:
          raise ValueError(
            "Expected clients' work that XLA can compile, found some that it cannot: leave --xla out or set --xla=no "
            'in a new run; a run that began with XLA goes on where XLA can compile it.'
          ) from error
        work = block_training.BlockWork(self._form, self._leaves, use_xla=False)
        self.use_xla, self.choice = False, CANNOT_COMPILE
      self._block_work = work
    return self._block_work


def _detach(outputs: Sequence[np.ndarray], inputs: Sequence[Any]) -> list[np.ndarray]:
  """Returns the outputs, as copies those that are inputs unchanged: each would keep the one before it, for ever."""
  places = {value.ctypes.data for value in inputs if isinstance(value, np.ndarray)}
  return [
    output.copy() if isinstance(output, np.ndarray) and output.ctypes.data in places else output for output in outputs
  ]


def _resident(computation: tff.framework.ConcreteComputation) -> session_call.Function:
  parameter = computation.type_signature.parameter
  function = graph_import.import_computation(computation)
  return session_call.make_resident(
    lambda *arguments: function(arguments), [] if parameter is None else tff_structures.specs(parameter)
  )
