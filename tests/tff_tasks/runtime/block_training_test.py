"""Tests of a block of clients in one call, against the arithmetic of its parts."""

import collections
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.population import client_data
from tff_tasks.runtime import block_training
from tff_tasks.runtime import blocks
from tff_tasks.runtime import session_call

_DATASET = client_data.ClientDataset(
  tff.TensorType(np.float32, (None, 2)),
  tff.TensorType(np.int32),
  tff.TensorType(np.int32, (None,)),
  tff.TensorType(np.int32),
  tff.TensorType(np.int32, (2, 2)),
)


def _build_form() -> tff.backends.mapreduce.MapReduceForm:
  """Returns rounds whose clients send the sum of their features times the state, rejected if they have few."""

  @tff.tensorflow.computation(tff.SequenceType(_DATASET), np.float32)
  def work(sequence: tf.data.Dataset, scale: tf.Tensor) -> Any:
    dataset = sequence.get_single_element()
    number = tf.range(tf.shape(dataset.features)[0]) - dataset.first
    counts = tf.cast((number >= 0) & (number < dataset.num_examples), tf.float32)
    total = scale * tf.reduce_sum(dataset.features * counts[:, tf.newaxis])
    return collections.OrderedDict(
      total=total, rejected=tf.cast(dataset.num_examples < 2, tf.int32), seeds=tf.reduce_sum(dataset.seeds)
    )

  @tff.federated_computation(
    tff.FederatedType(np.float32, tff.SERVER), tff.FederatedType(tff.SequenceType(_DATASET), tff.CLIENTS)
  )
  def next_round(state: Any, data: Any) -> Any:
    update = tff.federated_map(work, (data, tff.federated_broadcast(state)))
    return state, tff.federated_sum(update)

  config = tf.compat.v1.ConfigProto()
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  return tff.backends.mapreduce.get_map_reduce_form_for_computation(next_round, config)


def _block(num_examples: list[int], size: int = 5, capacity: int = 4) -> blocks.Block:
  stream = np.random.default_rng(0)
  arrays = client_data.ClientDataset(
    stream.random((size * capacity, 2), np.float32),
    np.arange(0, size * capacity, capacity, np.int32),
    np.zeros((size, capacity), np.int32),
    np.array([*num_examples, *[capacity] * (size - len(num_examples))], np.int32),
    stream.integers(0, 9, (size, 2, 2)).astype(np.int32),
  )
  return blocks.Block(arrays, list(range(10, 10 + len(num_examples))), [], np.empty(0, np.uint8))


class BlockWorkTest(parameterized.TestCase):
  @parameterized.product(use_xla=(True, False), num_examples=([], [3], [4, 1, 0, 2], [2, 2, 2, 2, 1]))
  def test_sums_the_clients_that_are_there(self, use_xla: bool, num_examples: list[int]) -> None:
    work, block = block_training.BlockWork(_build_form(), use_xla), _block(num_examples)
    total, rejected = work(block, [tf.constant(10.0)])
    features, first, _, _, seeds = block.arrays
    parts = zip(np.split(features, first[1:]), num_examples, strict=False)
    expected = 10 * sum(part[:count].sum() for part, count in parts)
    np.testing.assert_allclose(total[0], expected, rtol=1e-6)
    self.assertEqual(rejected, [number for number, count in enumerate(num_examples) if count < 2])
    self.assertEqual([int(value) for value in total[1:]], [len(rejected), seeds[: len(num_examples)].sum()])

  @parameterized.parameters(True, False)
  def test_takes_memory_that_begins_anywhere(self, use_xla: bool) -> None:
    work, block = block_training.BlockWork(_build_form(), use_xla), _block([4, 3])
    expected, _ = work(block, [tf.constant(1.0)])
    for offset in (0, 4, 60):
      memory = np.empty(block.arrays.features.nbytes + 128, np.uint8)
      start = -memory.ctypes.data % session_call.ALIGNMENT + offset
      features = memory[start : start + block.arrays.features.nbytes].view(np.float32).reshape(20, 2)
      features[...] = block.arrays.features
      moved = block._replace(arrays=block.arrays._replace(features=features))
      np.testing.assert_array_equal(work(moved, [tf.constant(1.0)])[0][0], expected[0])


if __name__ == '__main__':
  absltest.main()
