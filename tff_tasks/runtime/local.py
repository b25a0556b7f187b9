"""Runs a learning process in this process: its compiled parts as resident functions, clients spread over threads.

TFF compiles the process to its MapReduceForm (prepare, work, zero, accumulate, merge, report, update); the parts mean
what TFF says, and only who calls them is ours. A client is one call of one function, `accumulate(sum, work(client))`,
compiled by XLA where that is faster.
"""

from collections.abc import Callable, Iterable, Iterator
import concurrent.futures
import itertools
import os
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks import client_data
from tff_tasks.runtime import imported
from tff_tasks.runtime import runtime
from tff_tasks.runtime import values

# Clients are summed in chunks of this many, and the chunks in their order: float sums then depend on the cohort alone
# and not on the number of threads.
_CHUNK = 8


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

  def next(self, state: Any, clients: Iterable[client_data.ClientBatches]) -> runtime.RoundResult:
    """Runs one round, reading clients while others train."""
    flat_state = [tf.convert_to_tensor(value) for value in values.flatten(state, self._state_type)]
    context = self._prepare(flat_state)
    total = self._zero([])
    for partial in self._in_order(_chunks(clients), context):
      total = self._merge([*total, *partial])
    outputs = self._report_and_update(flat_state, total)
    return runtime.RoundResult(*values.pack(outputs, self._result_type))

  def close(self) -> None:
    """Ends the threads."""
    self._pool.shutdown(cancel_futures=True)

  def _in_order(
      self, chunks: Iterator[list[client_data.ClientBatches]], context: list[tf.Tensor]
  ) -> Iterator[list[tf.Tensor]]:
    """Yields the sums of the chunks in their order, with two chunks a thread in flight and no more."""
    pending: list[concurrent.futures.Future] = []
    for chunk in chunks:
      pending.append(self._pool.submit(self._sum_chunk, chunk, context))
      if len(pending) > 2 * self._num_threads:
        yield pending.pop(0).result()
    for future in pending:
      yield future.result()

  def _sum_chunk(self, chunk: list[client_data.ClientBatches], context: list[tf.Tensor]) -> list[tf.Tensor]:
    total = self._zero([])
    for batches in chunk:
      total = self._train(total, list(batches), context)
    return total


def _chunks(clients: Iterable[client_data.ClientBatches]) -> Iterator[list[client_data.ClientBatches]]:
  iterator = iter(clients)
  while chunk := list(itertools.islice(iterator, _CHUNK)):
    yield chunk


def _resident(computation: tff.framework.ConcreteComputation) -> Callable[..., list[tf.Tensor]]:
  return tf.function(imported.import_computation(computation), autograph=False)


def _train_and_accumulate(form: tff.backends.mapreduce.MapReduceForm, use_xla: bool) -> Callable[..., list[tf.Tensor]]:
  """Returns the fused client call `(sum, client, context) -> sum`."""
  work, accumulate = imported.import_computation(form.work), imported.import_computation(form.accumulate)
  return tf.function(
      lambda total, client, context: accumulate([*total, *work([*client, *context])]),
      jit_compile=use_xla,
      autograph=False,
  )


def _report_and_update(form: tff.backends.mapreduce.MapReduceForm) -> Callable[..., list[tf.Tensor]]:
  report, update = imported.import_computation(form.report), imported.import_computation(form.update)
  return tf.function(lambda state, total: update([*state, *report(total)]), autograph=False)
