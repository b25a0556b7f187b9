"""Tests of a block of clients in one call, against the arithmetic of its parts."""

import collections
from collections.abc import Sequence
import functools
from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.aggregation import gathering
from tff_tasks.population import client_data
from tff_tasks.runtime import accumulators
from tff_tasks.runtime import block_training
from tff_tasks.runtime import blocks
from tff_tasks.runtime import session_call

_DATASET = client_data.ClientDataset(
  features=tff.TensorType(np.float32, (None, 2)),
  first=tff.TensorType(np.int32),
  index=tff.TensorType(np.int32),
  labels=tff.TensorType(np.int32, (None,)),
  memory=tff.TensorType(np.float32, (3,)),
  num_examples=tff.TensorType(np.int32),
  seeds=tff.TensorType(np.int32, (2, 2)),
  work=tff.TensorType(np.int32, (2,)),
)
_CONTEXT = [np.array(10.0, np.float32)]


class _Row(NamedTuple):
  memory: Any
  index: Any


@functools.cache
def _build_work(use_xla: bool, is_gathering: bool = True) -> block_training.BlockWork:
  """Returns the work of clients that send their features' sum times the state, their seeds' sum, and perhaps a row."""

  @tff.tensorflow.computation(tff.SequenceType(_DATASET), np.float32)
  def work(sequence: tf.data.Dataset, scale: tf.Tensor) -> Any:
    dataset = sequence.get_single_element()
    number = tf.range(tf.shape(dataset.features)[0]) - dataset.first
    counts = tf.cast((number >= 0) & (number < dataset.num_examples), tf.float32)
    total = scale * tf.reduce_sum(dataset.features * counts[:, tf.newaxis])
    return collections.OrderedDict(total=total, seeds=tf.reduce_sum(dataset.seeds)), _Row(
      dataset.memory + 1, dataset.index
    )

  @tff.federated_computation(
    tff.FederatedType(np.float32, tff.SERVER), tff.FederatedType(tff.SequenceType(_DATASET), tff.CLIENTS)
  )
  def next_round(state: Any, data: Any) -> Any:
    sums, row = tff.federated_map(work, (data, tff.federated_broadcast(state)))
    # The rows come first: leaves of a fixed size are not always before the others.
    rows = gathering.gather(row) if is_gathering else tff.federated_value((), tff.SERVER)
    return state, tff.federated_zip((rows, tff.federated_sum(sums)))

  config = tf.compat.v1.ConfigProto()
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  form = tff.backends.mapreduce.get_map_reduce_form_for_computation(next_round, config)
  return block_training.BlockWork(form, accumulators.split(form), use_xla)


def _block(num_examples: Sequence[int], size: int = 5, capacity: int = 4) -> blocks.Block:
  """Returns a block of clients 10, 11, …, at its end what an earlier block has left in the memory."""
  stream = np.random.default_rng(0)
  arrays = client_data.ClientDataset(
    features=stream.random((size * capacity, 2), np.float32),
    first=np.arange(0, size * capacity, capacity, np.int32),
    index=np.arange(10, 10 + size, dtype=np.int32),
    labels=np.zeros((size, capacity), np.int32),
    memory=stream.random((size, 3), np.float32),
    num_examples=np.array([*num_examples, *[capacity] * (size - len(num_examples))], np.int32),
    seeds=stream.integers(0, 9, (size, 2, 2)).astype(np.int32),
    work=np.zeros((size, 2), np.int32),
  )
  return blocks.Block(arrays, list(range(10, 10 + len(num_examples))), [], np.empty(0, np.uint8))


class BlockWorkTest(parameterized.TestCase):
  @parameterized.product(
    use_xla=(True, False), is_gathering=(True, False), num_examples=([], [3], [4, 1, 0, 2], [2, 2, 2, 2, 1])
  )
  def test_sums_and_gathers_the_clients_that_are_there(
    self, use_xla: bool, is_gathering: bool, num_examples: list[int]
  ) -> None:
    block = _block(num_examples)
    *rows, total, seeds = _build_work(use_xla, is_gathering)(block, _CONTEXT)
    arrays, size = block.arrays, len(num_examples)
    parts = zip(np.split(arrays.features, arrays.first[1:]), num_examples, strict=False)
    np.testing.assert_allclose(total, 10 * sum(part[:count].sum() for part, count in parts), rtol=1e-6)
    self.assertEqual(seeds, arrays.seeds[:size].sum())
    if is_gathering:
      memory, index = rows
      np.testing.assert_array_equal(memory, arrays.memory[:size] + 1, strict=True)
      np.testing.assert_array_equal(index, block.clients)
    else:
      self.assertEmpty(rows)

  @parameterized.parameters(True, False)
  def test_is_the_same_as_one_client_at_a_time(self, use_xla: bool) -> None:
    work, block = _build_work(use_xla), _block([4, 1, 0, 2])
    together = work(block, _CONTEXT)
    alone = []
    for number, client in enumerate(block.clients):
      arrays = client_data.ClientDataset(
        block.arrays.features, *(np.repeat(array[number : number + 1], 5, 0) for array in block.arrays[1:])
      )
      alone.append(work(block._replace(arrays=arrays, clients=[client]), _CONTEXT))
    columns = list(zip(*alone, strict=True))
    for gathered, parts in zip(together[:2], columns[:2], strict=True):
      np.testing.assert_array_equal(gathered, np.concatenate(parts), strict=True)
    for total, parts in zip(together[2:], columns[2:], strict=True):
      np.testing.assert_array_equal(total, functools.reduce(np.add, parts))

  @parameterized.parameters(True, False)
  def test_takes_memory_that_begins_anywhere(self, use_xla: bool) -> None:
    work, block = _build_work(use_xla), _block([4, 3])
    expected = work(block, _CONTEXT)
    for offset in (0, 4, 60):
      memory = np.empty(block.arrays.features.nbytes + 128, np.uint8)
      start = -memory.ctypes.data % session_call.ALIGNMENT + offset
      features = memory[start : start + block.arrays.features.nbytes].view(np.float32).reshape(20, 2)
      features[...] = block.arrays.features
      moved = block._replace(arrays=block.arrays._replace(features=features))
      for one, other in zip(work(moved, _CONTEXT), expected, strict=True):
        np.testing.assert_array_equal(one, other)


class OrderedAccumulatorTest(parameterized.TestCase):
  """An accumulator whose growing leaf is made with one of a fixed size, so that both wait for the stacks."""

  @parameterized.parameters(True, False)
  def test_is_accumulated_in_the_order_of_the_clients(self, use_xla: bool) -> None:
    work, block = _build_numbering(use_xla), _block([4, 1, 0, 2])
    count, numbered, total = work(block, [])
    self.assertEqual((count, total), (4, 7))
    np.testing.assert_array_equal(numbered, [1 * 10, 2 * 11, 3 * 12, 4 * 13])


@functools.cache
def _build_numbering(use_xla: bool) -> block_training.BlockWork:
  """Returns the work of clients whose index is multiplied by their number in the round."""
  row_type = tff.to_type(collections.OrderedDict(index=np.int32, num_examples=np.int32))
  total_type = tff.to_type((np.int32, tff.TensorType(np.int32, (None,)), np.int32))

  @tff.tensorflow.computation(tff.SequenceType(_DATASET))
  def work(sequence: tf.data.Dataset) -> Any:
    dataset = sequence.get_single_element()
    return collections.OrderedDict(index=dataset.index, num_examples=dataset.num_examples)

  @tff.tensorflow.computation(total_type, row_type)
  def accumulate(total: Any, row: Any) -> Any:
    count, numbered, examples = total
    numbered = tf.concat([numbered, [row['index'] * (count + 1)]], 0)
    return count + 1, numbered, examples + row['num_examples']

  merge = tff.tensorflow.computation(
    lambda one, other: (one[0] + other[0], tf.concat([one[1], other[1]], 0), one[2] + other[2]),
    (total_type, total_type),
  )
  report = tff.tensorflow.computation(lambda total: total, total_type)

  @tff.tensorflow.computation
  def zero() -> Any:
    return tf.constant(0), tf.zeros([0], tf.int32), tf.constant(0)

  @tff.federated_computation(
    tff.FederatedType(np.float32, tff.SERVER), tff.FederatedType(tff.SequenceType(_DATASET), tff.CLIENTS)
  )
  def next_round(state: Any, data: Any) -> Any:
    return state, tff.federated_aggregate(tff.federated_map(work, data), zero(), accumulate, merge, report)

  form = tff.backends.mapreduce.get_map_reduce_form_for_computation(next_round)
  return block_training.BlockWork(form, accumulators.split(form), use_xla)


if __name__ == '__main__':
  absltest.main()
