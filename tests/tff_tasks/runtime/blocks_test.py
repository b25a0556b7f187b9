"""Tests that a cohort is cut into blocks of neighbors of a size, and that these are read once, in time and aligned."""

import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from tests.tff_tasks import fakes
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.runtime import blocks
from tff_tasks.runtime import session_call


class _BlocksTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    # Capacities as different as the clients are.
    self.enterContext(mock.patch.object(client_data, '_LEAST_EXAMPLES', 0))
    self._shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._source = client_data.ClientDataSource(self._shards, 4, 99, seeds.Seed.from_number(1))

  def _cohort(self, count: int, round_number: int = 1) -> client_data.Cohort:
    clients = np.flatnonzero(self._source.num_examples)
    return self._source.cohort(round_number, clients[np.arange(count) % len(clients)])


class CutTest(_BlocksTest):
  @parameterized.parameters(0, 1, 8, 20, 100, 1000)
  def test_every_client_is_in_one_block(self, count: int) -> None:
    cohort = self._cohort(count)
    cut = blocks.cut(cohort)
    self.assertEqual([place for block in cut for place in block.places], list(range(count)))
    for block in cut:
      self.assertEqual(set(self._source.capacities(cohort.clients[block.places]).tolist()), {block.capacity})

  @parameterized.parameters((8, 1), (20, 2), (100, 10), (10_000, 32))
  def test_blocks_are_enough_for_all_cores_and_never_large(self, count: int, size: int) -> None:
    self.assertEqual(max(len(block.places) for block in blocks.cut(self._cohort(count))), size)

  def test_large_clients_make_small_blocks(self) -> None:
    # 64 examples of 24 bytes, and 36 bytes beside them: three of the largest clients.
    with mock.patch.object(blocks, '_MAX_BYTES', 3 * (64 * 24 + 36)):
      cut = blocks.cut(self._cohort(1000))
    self.assertEqual({max(len(block.places) for block in cut if block.capacity == capacity) for capacity in (64,)}, {3})
    self.assertGreater(max(len(block.places) for block in cut), 3)
    with mock.patch.object(blocks, '_MAX_BYTES', 1):
      self.assertEqual({len(block.places) for block in blocks.cut(self._cohort(100))}, {1})


class BlockReaderTest(_BlocksTest):
  def setUp(self) -> None:
    super().setUp()
    self._reader = blocks.BlockReader(num_threads=2, num_ahead=3)
    self.addCleanup(self._reader.close)
    self._reads: list[int] = []
    original = client_shards.ClientShards.read_into

    def read_into(shards: client_shards.ClientShards, split: str, index: int, *arrays: np.ndarray) -> None:
      self._reads.append(index)
      original(shards, split, index, *arrays)

    self.enterContext(mock.patch.object(client_shards.ClientShards, 'read_into', read_into))

  def test_gives_what_the_cohort_loads(self) -> None:
    cohort = self._cohort(40)
    found = []
    for loading in self._reader.read(cohort, None):
      block = loading.result()
      # NumPy gives an empty array any address.
      self.assertEqual({array.ctypes.data % session_call.ALIGNMENT for array in block.arrays if array.size}, {0})
      copy = client_data.ClientDataset(*map(np.copy, block.arrays))
      found += [copy.of(number) for number in range(len(block.clients))]
      self._reader.free(block)
    self.assertLen(found, 40)
    for place, dataset in enumerate(found):
      expected = cohort.load(place)
      np.testing.assert_array_equal(dataset.seeds, expected.seeds)
      self.assertEqual(dataset.index, cohort.clients[place])
      for array, other in zip(fakes.examples(dataset), fakes.examples(expected), strict=True):
        np.testing.assert_array_equal(array, other)

  def test_the_next_cohort_is_read_ahead_and_once(self) -> None:
    first, second = self._cohort(8, 1), self._cohort(8, 2)
    for loading in self._reader.read(first, second):
      self._reader.free(loading.result())
    reading = self._reader.read(second, None)
    next(reading).result()
    for loading in reading:
      self._reader.free(loading.result())
    self.assertCountEqual(self._reads, [*first.clients, *second.clients])

  def test_no_more_is_read_than_asked_for(self) -> None:
    reading = self._reader.read(self._cohort(8), None)
    next(reading).result()
    self._reader.close()
    self.assertLessEqual(len(self._reads), 4)

  def test_another_cohort_than_was_announced(self) -> None:
    announced, other = self._cohort(8, 2), self._cohort(3, 2)
    for loading in self._reader.read(self._cohort(1), announced):
      self._reader.free(loading.result())
    found = [client for loading in self._reader.read(other, None) for client in loading.result().clients]
    self.assertEqual(found, other.clients.tolist())

  def test_memory_is_used_again(self) -> None:
    cohort, memories = self._cohort(8), set()
    for _ in range(20):
      for loading in self._reader.read(cohort, None):
        block = loading.result()
        memories.add(block.memory.ctypes.data)
        self._reader.free(block)
    self.assertLess(len(memories), 20)


if __name__ == '__main__':
  absltest.main()
