"""The compiled call of the local runtime: the clients of a block train one after the other, their updates summed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import blocks
from tff_tasks.runtime import graph_import
from tff_tasks.runtime import session_call
from tff_tasks.runtime import tff_structures
from tff_tasks.runtime import xla

# What a client counts as 1 in its measurements if its update is not finite.
_REJECTED = 'rejected'


class BlockSum(NamedTuple):
  """What a block adds to a round: the flat sum of its clients, and who of them (numbers in the block) was rejected."""

  total: list[np.ndarray]
  rejected: list[int]


class BlockWork:
  """Runs `accumulate(sum, work(client))` over the clients of a block, beginning with `zero`.

  Attributes:
    use_xla: Whether XLA compiles the work of a client: faster for dense and recurrent layers, slower for convolutions.

  Args:
    form: The compiled learning process, whose clients hold a sequence of one element.
    use_xla: As above.
  """

  def __init__(self, form: tff.backends.mapreduce.MapReduceForm, use_xla: bool) -> None:
    self.use_xla = use_xla
    self._work, self._accumulate, self._zero = (
      graph_import.import_computation(part, for_xla=use_xla) for part in (form.work, form.accumulate, form.zero)
    )
    data_type, context_type = form.work.type_signature.parameter
    result_type, *_ = form.work.type_signature.result
    self._num_arrays = len(tff_structures.specs(data_type.element))
    self._rejected = [index for index, name in enumerate(tff_structures.names(result_type)) if name == _REJECTED]
    features, *others = tff_structures.specs(data_type.element)
    arrays = [features, *(tf.TensorSpec([None, *spec.shape], spec.dtype) for spec in others)]
    train = tf.function(self._train_for_xla, jit_compile=True, autograph=False) if use_xla else self._train
    context = tff_structures.specs(context_type)
    self._call = session_call.make_resident(train, [*arrays, tf.TensorSpec([], tf.int32), *context])

  def __call__(self, block: blocks.Block, context: Sequence[np.ndarray]) -> BlockSum:
    """Trains the block's clients with what the server sends to everyone."""
    *total, rejected = self._call(*block.arrays, np.int32(len(block.clients)), *context)
    bits = int(rejected)
    return BlockSum(total, [number for number in range(len(block.clients)) if bits >> number & 1])

  def _train_for_xla(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
    with xla.loops():
      return self._train(*inputs)

  def _train(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
    (features, *others), size, *context = inputs[: self._num_arrays], *inputs[self._num_arrays :]

    def add_next(index: tf.Tensor, rejected: tf.Tensor, total: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
      # To XLA an index is a copy of the whole; to TensorFlow it is a view, and a gather a copy of one.
      dataset = [features, *(tf.gather(array, index) if self.use_xla else array[index] for array in others)]
      total, flag = self._add_client(total, dataset, context)
      return index + 1, rejected | tf.bitwise.left_shift(flag, tf.cast(index, tf.int64)), total

    begin = tf.constant(0), tf.constant(0, tf.int64), self._zero([])
    _, rejected, total = tf.while_loop(lambda index, *_: index < size, add_next, begin, parallel_iterations=1)
    return [*total, rejected]

  def _add_client(
    self, total: list[tf.Tensor], dataset: list[tf.Tensor], context: Sequence[tf.Tensor]
  ) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Returns the sum with one more client in it, and 1 if that client was rejected."""
    update = self._work([*dataset, *context])
    flags = [tf.cast(update[place], tf.int64) for place in self._rejected]
    return self._accumulate([*total, *update]), tf.add_n([tf.constant(0, tf.int64), *flags])
