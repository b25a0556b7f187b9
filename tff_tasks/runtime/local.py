"""Runs a learning process in this process: its compiled parts as resident functions, clients spread over threads.

TFF compiles the process to its MapReduceForm (prepare, work, zero, accumulate, merge, report, update); the parts mean
what TFF says, and only who calls them is ours. A block of clients is one call of one function, which repeats
`accumulate(sum, work(client))`, compiled by XLA where that is faster.
"""

from collections.abc import Callable, Iterator, Sequence
import concurrent.futures
import os
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks import client_data
from tff_tasks.runtime import imported
from tff_tasks.runtime import runtime
from tff_tasks.runtime import values

# Clients are summed in chunks, and the chunks in their order: float sums then depend on the cohort alone and not on the
# number of threads. Chunks of at most this many clients, and enough of them that no core waits long at the end.
_MAX_CHUNK = 8
_MIN_CHUNKS = 16


class LocalRuntime:
  """A `Runtime` of threads.

  Args:
    process: What to run. Its client data must be a sequence of one element.
    use_xla: Whether XLA compiles the client's work: faster for recurrent models, slower for convolutions.
    num_threads: Clients that train at the same time; by default one a core.
  """

  def __init__(
      self, process: tff.learning.templates.LearningProcess, use_xla: bool, num_threads: int | None = None
  ) -> None:
    # Without Grappler, which would turn loops into a form that can neither be imported nor compiled by XLA.
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    form = tff.backends.mapreduce.get_map_reduce_form_for_computation(process.next, config)
    initialize = tff.backends.mapreduce.get_state_initialization_computation(process.initialize, config)
    # The compiled parts have lost the Python containers that the process names.
    self._state_type = process.initialize.type_signature.result
    self._result_type = process.next.type_signature.result
    self._initialize = _resident(initialize)
    self._prepare = _resident(form.prepare)
    self._zero = _resident(form.zero)
    self._merge = _resident(form.merge)
    self._report_and_update = _report_and_update(form)
    self._train = _train_and_accumulate(form, use_xla)
    self._num_threads = num_threads or len(os.sched_getaffinity(0))
    self._pool = concurrent.futures.ThreadPoolExecutor(self._num_threads)

  def initialize(self) -> Any:
    """Returns the state of round 0."""
    return values.pack(self._initialize([]), self._state_type)

  def next(self, state: Any, clients: Sequence[client_data.LoadClient]) -> runtime.RoundResult:
    """Runs one round; a client is read by the thread that trains it, and forgotten with its chunk."""
    flat_state = [tf.convert_to_tensor(value) for value in values.flatten(state, self._state_type)]
    context = self._prepare(flat_state)
    total = self._zero([])
    for partial in self._in_order(clients, context):
      total = self._merge([*total, *partial])
    outputs = self._report_and_update(flat_state, total)
    return runtime.RoundResult(*values.pack(outputs, self._result_type))

  def close(self) -> None:
    """Ends the threads."""
    self._pool.shutdown(cancel_futures=True)

  def _in_order(
      self, clients: Sequence[client_data.LoadClient], context: list[tf.Tensor]
  ) -> Iterator[list[tf.Tensor]]:
    """Yields the sums of the chunks in their order, with two chunks a thread in flight and no more."""
    pending: list[concurrent.futures.Future] = []
    size = _chunk_size(len(clients))
    for start in range(0, len(clients), size):
      pending.append(self._pool.submit(self._sum_chunk, clients[start : start + size], size, context))
      if len(pending) > 2 * self._num_threads:
        yield pending.pop(0).result()
    for future in pending:
      yield future.result()

  def _sum_chunk(
      self, chunk: Sequence[client_data.LoadClient], size: int, context: list[tf.Tensor]
  ) -> list[tf.Tensor]:
    total = self._zero([])
    for block in _blocks([load() for load in chunk], size):
      total = self._train(total, block, context)
    return total


def _chunk_size(num_clients: int) -> int:
  """Returns a power of two, so that there are few sizes to compile for."""
  return 1 << min(max(num_clients // _MIN_CHUNKS, 1), _MAX_CHUNK).bit_length() - 1


def _blocks(clients: list[client_data.ClientBatches], size: int) -> Iterator[list[np.ndarray]]:
  """Yields clients stacked along a new first axis: all of a whole chunk in one, or else one by one.

  Nothing in between, so that the shapes to compile for stay few.
  """
  is_whole = len(clients) == size and len({client.labels.shape for client in clients}) == 1
  for block in [clients] if is_whole else [[client] for client in clients]:
    yield [np.stack(arrays) for arrays in zip(*block, strict=True)]


def _resident(computation: tff.framework.ConcreteComputation) -> Callable[..., list[tf.Tensor]]:
  return tf.function(imported.import_computation(computation), autograph=False)


def _train_and_accumulate(form: tff.backends.mapreduce.MapReduceForm, use_xla: bool) -> Callable[..., list[tf.Tensor]]:
  """Returns the call `(sum, block of clients, context) -> sum` that trains a block one after the other."""
  work, accumulate = imported.import_computation(form.work), imported.import_computation(form.accumulate)

  def train(total: list[tf.Tensor], block: list[tf.Tensor], context: list[tf.Tensor]) -> list[tf.Tensor]:
    def add_client(index: tf.Tensor, total: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
      return index + 1, accumulate([*total, *work([*(array[index] for array in block), *context])])

    size = block[0].shape[0]
    if size == 1:
      return add_client(tf.constant(0), total)[1]
    return tf.while_loop(
        lambda index, _: index < size, add_client, (tf.constant(0), total), parallel_iterations=1
    )[1]

  return tf.function(train, jit_compile=use_xla, autograph=False)


def _report_and_update(form: tff.backends.mapreduce.MapReduceForm) -> Callable[..., list[tf.Tensor]]:
  report, update = imported.import_computation(form.report), imported.import_computation(form.update)
  return tf.function(lambda state, total: update([*state, *report(total)]), autograph=False)
