"""Tests that clients train on their examples: each once an epoch, as many as the cap allows, in a seeded order."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from pipelines import client_shards
from pipelines import schema as schema_lib
from tests.tff_tasks import fakes
from tff_tasks import client_data
from tff_tasks import seeds

_LARGEST = int(np.argmax(fakes.SIZES))
_EMPTY = fakes.SIZES.index(0)


def _real(batches: client_data.ClientBatches) -> list[tuple[bytes, bytes]]:
  """Returns the examples that are not fillers, in their order."""
  features = batches.features.reshape(-1, *batches.features.shape[2:])
  labels = batches.labels.reshape(-1, *batches.labels.shape[2:])
  real = (labels != schema_lib.IGNORED_LABEL).any(axis=1)
  return [(one.tobytes(), other.tobytes()) for one, other in zip(features[real], labels[real], strict=True)]


class ClientDataTest(parameterized.TestCase):
  shards: client_shards.ClientShards

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.shards = fakes.write_shards(os.path.join(folder, 'shards'))

  def _source(self, batch_size: int = 4, epochs: int = 1, cap: int = 99, seed: int = 1) -> client_data.ClientDataSource:
    return client_data.ClientDataSource(self.shards, batch_size, epochs, cap, seeds.Seed.from_number(seed))

  def _examples(self, client: int) -> list[tuple[bytes, bytes]]:
    features, labels = self.shards.read('train', client)
    examples = [(one.tobytes(), other.tobytes()) for one, other in zip(features, labels, strict=True)]
    self.assertLen(set(examples), len(examples))  # Otherwise nobody could tell what was repeated.
    return examples

  @parameterized.product(client=tuple(range(len(fakes.SIZES))), epochs=(1, 3))
  def test_every_example_comes_once_an_epoch(self, client: int, epochs: int) -> None:
    batches = self._source(epochs=epochs).client_batches(2, client)
    expected = sorted(self._examples(client))
    steps = -(-len(expected) // 4)
    for epoch in range(epochs):
      part = slice(epoch * steps, (epoch + 1) * steps)
      found = _real(client_data.ClientBatches(batches.features[part], batches.labels[part], batches.rounding_seed))
      self.assertEqual(sorted(found), expected)

  def test_epochs_have_orders_of_their_own(self) -> None:
    found = _real(self._source(epochs=2).client_batches(1, _LARGEST))
    self.assertNotEqual(found[:40], found[40:])
    self.assertNotEqual(found[:40], self._examples(_LARGEST))

  @parameterized.parameters(1, 16, 39)
  def test_the_cap_holds_for_all_epochs_together(self, cap: int) -> None:
    found = _real(self._source(epochs=2, cap=cap).client_batches(1, _LARGEST))
    self.assertLen(found, 2 * cap)
    self.assertEqual(set(found[:cap]), set(found[cap:]))
    self.assertLen(set(found), cap)

  def test_the_cap_draws_anew_each_round(self) -> None:
    """An example misses all 100 draws of a tenth once in 37,000 times: 40 of them, once in 900 for another seed."""
    source = self._source(cap=4)
    drawn = [frozenset(_real(source.client_batches(number, _LARGEST))) for number in range(100)]
    self.assertGreater(len(set(drawn)), 90)
    self.assertEqual(set().union(*drawn), set(self._examples(_LARGEST)))

  def test_the_last_batch_is_filled_with_what_does_not_count(self) -> None:
    client = fakes.SIZES.index(5)
    batches = self._source(batch_size=4).client_batches(1, client)
    self.assertEqual(batches.features.shape, (2, 4, 12))
    self.assertEqual(batches.labels.shape, (2, 4, 12))
    np.testing.assert_array_equal(batches.labels[1, 1:], schema_lib.IGNORED_LABEL)
    np.testing.assert_array_equal(batches.features[1, 1:], 0)
    self.assertTrue((batches.labels[:, 0] >= 0).any(axis=1).all())

  @parameterized.parameters(
      (0, 4, 1), (1, 4, 1), (5, 4, 2), (9, 4, 4), (17, 4, 8), (40, 4, 16), (40, 5, 8), (40, 64, 1), (3, 1, 4)
  )
  def test_steps_are_a_power_of_two(self, size: int, batch_size: int, steps: int) -> None:
    batches = self._source(batch_size).client_batches(1, fakes.SIZES.index(size))
    self.assertEqual(batches.features.shape[:2], (steps, batch_size))
    self.assertEqual(batches.labels.shape[:2], (steps, batch_size))

  def test_a_client_without_examples_has_one_batch_of_fillers(self) -> None:
    batches = self._source(epochs=2).client_batches(1, _EMPTY)
    self.assertEqual(batches.features.shape, (1, 4, 12))
    np.testing.assert_array_equal(batches.labels, np.full((1, 4, 12), schema_lib.IGNORED_LABEL))

  def test_types_are_those_of_the_shards(self) -> None:
    for client in (_EMPTY, _LARGEST):
      batches = self._source().client_batches(1, client)
      self.assertEqual([array.dtype for array in batches], ['uint8', 'int8', 'int32'])
      self.assertEqual(batches.rounding_seed.shape, (2,))

  def test_the_same_seed_round_and_client_give_the_same_arrays(self) -> None:
    for one, other in zip(self._source().client_batches(3, 4), self._source().client_batches(3, 4), strict=True):
      np.testing.assert_array_equal(one, other, strict=True)

  def test_another_seed_or_round_gives_another_order(self) -> None:
    places = ((1, 1), (1, 2), (2, 1))
    orders = {tuple(_real(self._source(seed=seed).client_batches(number, _LARGEST))) for seed, number in places}
    self.assertLen(orders, 3)

  def test_every_client_of_every_round_rounds_by_itself(self) -> None:
    places = [(number, client) for number in range(20) for client in range(len(fakes.SIZES))]
    rounding = {tuple(self._source().client_batches(*place).rounding_seed) for place in places}
    self.assertLen(rounding, len(places))

  def test_a_round_is_its_cohort_the_largest_first(self) -> None:
    source = self._source()
    found = [load() for load in source.round_clients(6, np.array([0, 1, 3, 4, 7]))]
    self.assertEqual([fakes.SIZES[client] for client in (1, 4, 7, 0, 3)], [40, 17, 5, 1, 0])
    for client, batches in zip((1, 4, 7, 0, 3), found, strict=True):
      for one, other in zip(batches, source.client_batches(6, client), strict=True):
        np.testing.assert_array_equal(one, other)
    self.assertEmpty(source.round_clients(6, np.array([], int)))

  def test_the_shards_are_not_written_to(self) -> None:
    before = self._examples(_LARGEST)
    for array in self._source(batch_size=40).client_batches(1, _LARGEST):
      array[...] = 1
    self.assertEqual(self._examples(_LARGEST), before)


if __name__ == '__main__':
  absltest.main()
