"""The compiled call of the local runtime: the clients of a block train one after the other, their updates summed."""

from collections.abc import Sequence
import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import accumulators
from tff_tasks.runtime import blocks
from tff_tasks.runtime import graph_import
from tff_tasks.runtime import session_call
from tff_tasks.runtime import tff_structures
from tff_tasks.runtime import xla


class BlockWork:
  """Runs `accumulate(total, work(client))` over the clients of a block, beginning with `zero`.

  What grows with each client cannot be compiled by XLA: what it is made of is stacked, and accumulated afterwards. Rows
  that are only appended are that stack already.

  Attributes:
    use_xla: Whether XLA compiles the work of a client: faster for dense and recurrent layers, slower for convolutions.

  Args:
    form: The compiled learning process, whose clients have a sequence of one element.
    leaves: Those of its accumulator.
    use_xla: As above.
  """

  def __init__(
    self, form: tff.backends.mapreduce.MapReduceForm, leaves: accumulators.Accumulators, use_xla: bool
  ) -> None:
    self.use_xla = use_xla
    self._leaves = leaves
    self._work = graph_import.import_computation(form.work, use_xla)
    self._accumulate, self._zero = (
      graph_import.import_computation(part, use_xla, self._leaves.fixed) for part in (form.accumulate, form.zero)
    )
    self._num_leaves = sum(map(len, self._leaves[:3]))
    data_type, context_type = form.work.type_signature.parameter
    self._num_arrays = len(tff_structures.specs(data_type.element))
    features, *others = tff_structures.specs(data_type.element)
    arrays = [features, *(tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in others)]
    train = tf.function(self._train_for_xla, jit_compile=True, autograph=False) if use_xla else self._train
    context = tff_structures.specs(context_type)
    result_type, *_ = form.work.type_signature.result
    specs = tff_structures.specs(result_type)
    self._gathered = [specs[leaf] for leaf in self._leaves.gathered]
    self._call = session_call.make_resident(train, [*arrays, tf.TensorSpec([], tf.int32), *context])
    self._gather = _build_gather(form, self._leaves, self._gathered) if self._leaves.growing else None

  def __call__(self, block: blocks.Block, context: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Trains the block's clients with what the server sends to everyone; returns their flat accumulator."""
    outputs = self._call(*block.arrays, np.int32(len(block.clients)), *context)
    total = dict(zip(self._leaves.fixed, outputs, strict=False))
    stacks = [stack[: len(block.clients)] for stack in outputs[len(self._leaves.fixed) :]]
    rows = dict(zip(self._leaves.gathered, stacks, strict=True))
    total |= {leaf: rows[sent] for leaf, sent in self._leaves.appended.items()}
    if self._gather:
      total |= zip(self._leaves.growing, self._gather(*stacks), strict=True)
    return [total[leaf] for leaf in range(self._num_leaves)]

  def _train_for_xla(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
    with xla.loops():
      return self._train(*inputs)

  def _train(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
    (features, *others), size, *context = inputs[: self._num_arrays], *inputs[self._num_arrays :]
    capacity = tf.shape(others[0])[0]

    def add_next(index: tf.Tensor, total: list[tf.Tensor], stacks: list[tf.TensorArray]) -> tuple[Any, ...]:
      # To XLA an index is a copy of the whole; to TensorFlow it is a view, and a gather a copy of one.
      dataset = [features, *(tf.gather(array, index) if self.use_xla else array[index] for array in others)]
      result = self._work([*dataset, *context])
      sent = [result[leaf] for leaf in self._leaves.gathered]
      stacks = [stack.write(index, value) for stack, value in zip(stacks, sent, strict=True)]
      return index + 1, self._accumulate(self._with_fixed(total) + result), stacks

    stacks = [
      tf.TensorArray(spec.dtype, capacity, element_shape=spec.shape, clear_after_read=False) for spec in self._gathered
    ]
    begin = tf.constant(0), self._zero([]), stacks
    _, total, stacks = tf.while_loop(lambda index, *_: index < size, add_next, begin, parallel_iterations=1)
    return [*total, *(stack.stack() for stack in stacks)]

  def _with_fixed(self, total: Sequence[tf.Tensor]) -> list[tf.Tensor | None]:
    """Returns a flat accumulator of the leaves of fixed size, without the others."""
    found: list[tf.Tensor | None] = [None] * self._num_leaves
    for leaf, value in zip(self._leaves.fixed, total, strict=True):
      found[leaf] = value
    return found


def _build_gather(
  form: tff.backends.mapreduce.MapReduceForm, leaves: accumulators.Accumulators, gathered: Sequence[tf.TensorSpec]
) -> session_call.Function:
  """Returns the call `stacks of what clients sent -> growing leaves of the accumulator`."""
  zero, accumulate = (
    graph_import.import_computation(part, results=leaves.growing) for part in (form.zero, form.accumulate)
  )
  accumulator_type, result_type = form.accumulate.type_signature.parameter
  specs = tff_structures.specs(accumulator_type)
  num_results = len(tff_structures.specs(result_type))

  def add_row(index: tf.Tensor, total: list[tf.Tensor], stacks: Sequence[tf.Tensor]) -> tuple[Any, ...]:
    arguments: list[tf.Tensor | None] = [None] * (len(specs) + num_results)
    for leaf, value in zip(leaves.growing, total, strict=True):
      arguments[leaf] = value
    for leaf, stack in zip(leaves.gathered, stacks, strict=True):
      arguments[len(specs) + leaf] = stack[index]
    return index + 1, accumulate(arguments)

  def gather(*stacks: tf.Tensor) -> list[tf.Tensor]:
    return tf.while_loop(
      lambda index, _: index < tf.shape(stacks[0])[0],
      functools.partial(add_row, stacks=stacks),
      (tf.constant(0), zero([])),
      (tf.TensorShape([]), [specs[leaf].shape for leaf in leaves.growing]),
      parallel_iterations=1,
    )[1]

  return session_call.make_resident(gather, [tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in gathered])
