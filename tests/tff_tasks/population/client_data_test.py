"""Tests that rounds get the clients that are on disk, alone and in blocks, and that bad ones are skipped."""

import os
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from contracts import schema as schema_lib
from pipelines.shards import shard_writing
from tests.tff_tasks import fakes
from tff_tasks.population import client_data
from tff_tasks.population import seeds

_LARGEST = int(np.argmax(fakes.SIZES))
_EMPTY = fakes.SIZES.index(0)


def _source(
  shards: client_shards.ClientShards, batch_size: int = 4, seed: int = 1, cap: int = 99
) -> client_data.ClientDataSource:
  return client_data.ClientDataSource(shards, batch_size, cap, seeds.Seed.from_number(seed))


class ClientDataTest(parameterized.TestCase):
  shards: client_shards.ClientShards

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.shards = fakes.write_shards(os.path.join(folder, 'shards'))

  def _load(self, client: int, round_number: int = 1, **source: int) -> client_data.ClientDataset:
    return client_data.Cohort(_source(self.shards, **source), round_number, np.array([client])).load(0)

  @parameterized.parameters(*range(len(fakes.SIZES)))
  def test_a_dataset_is_what_is_on_disk(self, client: int) -> None:
    dataset = self._load(client)
    for one, other in zip(fakes.examples(dataset), self.shards.read('train', client), strict=True):
      np.testing.assert_array_equal(one, other, strict=True)

  @parameterized.parameters(
    (0, 4, 4), (1, 4, 4), (5, 4, 8), (9, 4, 16), (17, 4, 32), (40, 4, 64), (40, 5, 40), (40, 64, 64), (3, 1, 4)
  )
  def test_capacities_are_a_power_of_two_of_batches(self, size: int, batch_size: int, capacity: int) -> None:
    with mock.patch.object(client_data, '_LEAST_EXAMPLES', 0):
      dataset = self._load(fakes.SIZES.index(size), batch_size=batch_size)
    self.assertEqual(dataset.features.shape, (capacity, 12))
    self.assertEqual(dataset.labels.shape, (capacity, 12))

  @parameterized.parameters(
    (256, 1 << 20, 99, {64}), (256, 1 << 20, 7, {8}), (10, 1 << 20, 99, {16, 32, 64}), (256, 132, 99, {8, 16, 32, 64})
  )
  def test_small_capacities_are_one(self, examples: int, num_bytes: int, cap: int, capacities: set[int]) -> None:
    with mock.patch.multiple(client_data, _LEAST_EXAMPLES=examples, _LEAST_BYTES=num_bytes):
      self.assertEqual(set(_source(self.shards, cap=cap).capacities(np.arange(len(fakes.SIZES))).tolist()), capacities)

  @parameterized.parameters(1, 16, 39)
  def test_of_large_clients_some_examples_are_drawn(self, cap: int) -> None:
    dataset = self._load(_LARGEST, cap=cap)
    self.assertEqual(dataset.num_examples, cap)
    examples = list(zip(*(array.tolist() for array in self.shards.read('train', _LARGEST)), strict=True))
    found = list(zip(*(array.tolist() for array in fakes.examples(dataset)), strict=True))
    self.assertLen({str(example) for example in found}, cap)
    self.assertTrue(all(example in examples for example in found))

  def test_they_are_drawn_anew_each_round(self) -> None:
    """An example misses all 100 draws of a tenth once in 37,000 times: 40 of them, once in 900 for another seed."""
    drawn = [self._load(_LARGEST, number, cap=4).features[:4] for number in range(100)]
    self.assertGreater(len({examples.tobytes() for examples in drawn}), 90)
    self.assertLen({example.tobytes() for examples in drawn for example in examples}, fakes.SIZES[_LARGEST])

  def test_a_cohort_has_the_largest_first(self) -> None:
    cohort = _source(self.shards).cohort(6, np.array([0, 1, 4, 7]))
    self.assertEqual(cohort.clients.tolist(), [1, 4, 7, 0])
    self.assertEqual([int(cohort.load(place).num_examples) for place in range(len(cohort))], [40, 17, 5, 1])
    self.assertEmpty(_source(self.shards).cohort(6, np.array([], int)))

  def test_clients_without_examples_are_not_loaded(self) -> None:
    source = _source(self.shards)
    self.assertEqual(source.cohort(6, np.array([0, _EMPTY, 4])).clients.tolist(), [4, 0])
    self.assertEmpty(source.cohort(6, np.array([_EMPTY])))

  def test_a_dataset_is_the_same_at_every_call(self) -> None:
    for one, other in zip(self._load(4, 3), self._load(4, 3), strict=True):
      np.testing.assert_array_equal(one, other, strict=True)

  def test_every_client_of_every_round_has_seeds_of_its_own(self) -> None:
    places = [(client, number) for number in range(20) for client in range(len(fakes.SIZES))]
    found = [self._load(*place).seeds for place in places] + [self._load(0, 1, seed=2).seeds]
    self.assertLen({part.tobytes() for pair in found for part in pair}, 2 * len(found))

  def test_a_block_is_its_clients_one_after_the_other(self) -> None:
    source = _source(self.shards, batch_size=64)
    cohort = source.cohort(2, np.arange(len(fakes.SIZES)))
    block = client_data.ClientDataset(*(np.ones(shape, dtype) for shape, dtype in source.block_specs(3, 64)))
    loaded, errors = cohort.load_block([1, 2, 6], block)
    self.assertEqual((loaded, errors), ([4, 6, 0], []))
    for number, place in enumerate((1, 2, 6)):
      alone, together = cohort.load(place), block.of(number)
      for one, other in zip(fakes.examples(together), fakes.examples(alone), strict=True):
        np.testing.assert_array_equal(one, other)
      np.testing.assert_array_equal(together.seeds, alone.seeds)


class BadClientsTest(parameterized.TestCase):
  def _write(self, schema: schema_lib.Schema, *clients: tuple[np.ndarray, np.ndarray]) -> client_shards.ClientShards:
    folder = self.create_tempdir().full_path
    examples = [
      shard_writing.ClientExamples(f'{number:016d}'.encode(), 'train', features, labels)
      for number, (features, labels) in enumerate(clients)
    ]
    shard_writing.write_data_set(folder, schema, [shard_writing.pack(examples)])
    return client_shards.ClientShards(folder)

  @parameterized.parameters(
    ('labels', 10, 'Expected labels of 10 classes, found 2 to 10: preprocess the data again.'),
    ('labels', -3, 'Expected labels of 10 classes, found -3 to 2: preprocess the data again.'),
    ('features', 10, 'Expected features of 10 classes, found 1 to 10: preprocess the data again.'),
  )
  def test_codes_without_a_class_are_refused(self, where: str, code: int, message: str) -> None:
    good = np.full((3, 12), 1, np.uint8), np.full((3, 12), 2, np.int8)
    bad = good[0].copy(), good[1].copy()
    bad[where == 'labels'][1, 5] = code
    source = _source(self._write(fakes.SCHEMA, good, bad, good))
    cohort = source.cohort(1, np.arange(3))
    with self.assertRaises(ValueError) as caught:
      cohort.load(1)
    self.assertEqual(str(caught.exception), message)
    block = client_data.ClientDataset(*(np.zeros(shape, dtype) for shape, dtype in source.block_specs(3, 4)))
    self.assertEqual(cohort.load_block([0, 1, 2], block), ([0, 2], [client_data.ClientError(1, message)]))
    np.testing.assert_array_equal(block.labels[:2, :3], 2)

  def test_pixels_are_no_codes(self) -> None:
    schema = schema_lib.Schema(
      'handwriting', schema_lib.Feature('i', 'uint8', (4, 4)), schema_lib.Feature('l', 'int8', ()), ('a', 'b')
    )
    shards = self._write(schema, (np.full((2, 4, 4), 255, np.uint8), np.array([0, 1], np.int8)))
    self.assertEqual(_source(shards).cohort(1, np.array([0])).load(0).features.max(), 255)

  def test_damaged_clients_are_skipped_in_a_block(self) -> None:
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    source = _source(shards, batch_size=64)
    cohort = source.cohort(1, np.arange(len(fakes.SIZES)))
    fakes.damage(shards, _LARGEST)
    block = client_data.ClientDataset(*(np.zeros(shape, dtype) for shape, dtype in source.block_specs(8, 64)))
    loaded, ((client, reason),) = cohort.load_block(range(7), block)
    self.assertEqual(client, _LARGEST)
    self.assertRegex(reason, '^Expected the .* found other content in batch .*')
    self.assertEqual(loaded, cohort.clients[1:].tolist())


if __name__ == '__main__':
  absltest.main()
