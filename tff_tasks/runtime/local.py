"""Runs a learning process in this process: its compiled parts as resident functions, clients spread over threads.

TFF compiles the process to its MapReduceForm (prepare, work, zero, accumulate, merge, report, update); the parts mean
what TFF says, and only who calls them is ours: a block of clients is one call.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import functools
import math
import time
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

USE_XLA = 'use_xla'  # In what is settled.
CANNOT_COMPILE = 'Clients train without XLA, which cannot compile this model.'
_NOT_COMPILED = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
# Ways to run clients are tried this often, or until one is this much faster.
_TRIALS = 5
_CLEARLY = 2.0
# Examples of one client that they are tried on.
_SAMPLE = 64


class LocalRuntime:
  """A `Runtime` of threads.

  Sums of floats depend on the cohort alone: blocks are made of neighbors in it and added in their order, however many
  threads there are.

  Attributes:
    use_xla: Whether XLA compiles the client's work; None until that was measured.
    choice: What was measured, for people to read; empty before.

  Args:
    process: What to run. Its client data must be a sequence of one `ClientDataset`.
    use_xla: As above; None to use whichever is faster on a client of the first round.
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
    self._report_and_update = _report_and_update(self._form)
    self.use_xla = use_xla
    self.choice = ''
    self._block_work: block_training.BlockWork | None = None
    self._workers = workers_lib.Workers(num_threads)
    # One thread reads faster than two train, and what is read too early has left the cache again.
    num_threads = self._workers.num_threads
    self._reader = blocks.BlockReader(max(1, num_threads // 2), num_ahead=num_threads)

  @property
  def settled(self) -> dict[str, Any]:
    """Whether XLA compiles the client's work; empty until that was measured."""
    return {} if self.use_xla is None else {USE_XLA: self.use_xla}

  def initialize(self) -> Any:
    """Returns the state of round 0."""
    return tff_structures.pack(self._initialize(), self._state_type)

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
      work = self._block_work or self._begin(cohort, loading.result(), context)
      yield functools.partial(self._train, work, cohort, loading, context)

  def _train(
    self,
    work: block_training.BlockWork | None,
    cohort: client_data.Cohort,
    loading: 'futures.Future[blocks.Block]',
    context: list[np.ndarray],
  ) -> tuple[list[np.ndarray], list[client_data.ClientError]]:
    """Returns the sum of a block, empty if none of its clients could be read, and who could not."""
    block = loading.result()
    if work is None or not block.clients:
      return [], block.errors
    # Not by the reader, which may be ahead by a round.
    cohort.load_state(block.clients, block.arrays)
    total = work(block, context)
    self._reader.free(block)
    return total, block.errors

  def _begin(
    self, cohort: client_data.Cohort, block: blocks.Block, context: list[np.ndarray]
  ) -> block_training.BlockWork | None:
    """Returns what trains the first block, and all others unless there was nothing to measure with."""
    if not block.clients:
      return None
    cohort.load_state(block.clients, block.arrays)
    if self.use_xla is None and not block.arrays.num_examples[0]:
      return block_training.BlockWork(self._form, self._leaves, use_xla=False)
    self._block_work = self._build_block_work(block, context)
    return self._block_work

  def _build_block_work(self, block: blocks.Block, context: list[np.ndarray]) -> block_training.BlockWork:
    """Builds what trains a block, as asked for or, if it is left to us, the way that is faster on this block."""
    if self.use_xla is not None:
      work = block_training.BlockWork(self._form, self._leaves, self.use_xla)
      if self.use_xla:
        self._check_compilation(work, block, context)
      return work
    works = [block_training.BlockWork(self._form, self._leaves, use_xla) for use_xla in (False, True)]
    sample = _sample(block)
    calls = [functools.partial(work, sample, context) for work in works]
    # Once at the same time: most of it is compiling.
    without, compiled = map(self._workers.submit, calls)
    without.result()
    try:
      compiled.result()
    except _NOT_COMPILED:
      self.use_xla = False
      self.choice = CANNOT_COMPILE
      return works[False]
    seconds = _compare(calls)
    self.use_xla = seconds[1] < seconds[0]
    self.choice = (
      f'Clients train {"compiled by XLA" if self.use_xla else "without XLA"}: {int(sample.arrays.num_examples[0])} '
      f'examples of one took {seconds[1]:.2g} s with, {seconds[0]:.2g} s without.'
    )
    return works[self.use_xla]

  def _check_compilation(self, work: block_training.BlockWork, block: blocks.Block, context: list[np.ndarray]) -> None:
    """Lets XLA compile for a first client.

    Raises:
      ValueError: If it cannot.
    """
    try:
      work(_sample(block), context)
    except _NOT_COMPILED as error:
      raise ValueError(
        "Expected clients' work that XLA can compile, found some that it cannot: set --xla=no, or leave it out."
      ) from error


def _detach(outputs: Sequence[np.ndarray], inputs: Sequence[Any]) -> list[np.ndarray]:
  """Returns the outputs, as copies those that are inputs unchanged: each would keep the one before it, for ever."""
  places = {value.ctypes.data for value in inputs if isinstance(value, np.ndarray)}
  return [
    output.copy() if isinstance(output, np.ndarray) and output.ctypes.data in places else output for output in outputs
  ]


def _sample(block: blocks.Block) -> blocks.Block:
  """Returns the first client of a block with a few of its examples: where XLA is slow, it is by far."""
  num_examples = np.minimum(block.arrays.num_examples, _SAMPLE)
  return block._replace(arrays=block.arrays._replace(num_examples=num_examples), clients=block.clients[:1])


def _compare(calls: Sequence[Callable[[], Any]]) -> list[float]:
  """Returns the seconds that each call takes at best, tried again only while they are close."""
  best = [math.inf] * len(calls)
  for _ in range(_TRIALS):
    for number, call in enumerate(calls):
      started = time.perf_counter()
      call()
      best[number] = min(best[number], time.perf_counter() - started)
    if max(best) > _CLEARLY * min(best):
      break
  return best


def _resident(computation: tff.framework.ConcreteComputation) -> session_call.Function:
  parameter = computation.type_signature.parameter
  function = graph_import.import_computation(computation)
  return session_call.make_resident(
    lambda *arguments: function(arguments), [] if parameter is None else tff_structures.specs(parameter)
  )


def _report_and_update(form: tff.backends.mapreduce.MapReduceForm) -> session_call.Function:
  """Returns the call `(flat state, flat sum) -> flat (state, metrics)`."""
  report, update = graph_import.import_computation(form.report), graph_import.import_computation(form.update)
  state, total = (tff_structures.specs(part.type_signature.parameter) for part in (form.prepare, form.report))
  return session_call.make_resident(
    lambda *arguments: update([*arguments[: len(state)], *report(arguments[len(state) :])]), [*state, *total]
  )
