"""Tests that a seed gives the same numbers to the same purpose, others to others, and keeps its secret."""

import itertools
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_tasks import seeds

_SEED = seeds.Seed.from_number(1)


class SeedTest(parameterized.TestCase):
  def test_the_same_secret_gives_the_same_stream(self) -> None:
    copy = seeds.Seed(bytes(_SEED.secret))
    self.assertEqual(copy, seeds.Seed.from_number(1))
    np.testing.assert_array_equal(copy.stream('client', 2, 3).random(100), _SEED.stream('client', 2, 3).random(100))
    np.testing.assert_array_equal(copy.tensor_seed('noise'), _SEED.tensor_seed('noise'))

  def test_streams_are_the_same_in_every_process_and_version(self) -> None:
    """A run that is resumed after an upgrade must draw what it would have drawn."""
    self.assertEqual(seeds.Seed(bytes(32)).stream('cohort', 7).integers(1000, size=4).tolist(), [126, 634, 872, 215])
    self.assertEqual(seeds.Seed(bytes(32)).tensor_seed('noise').tolist(), [-881748267, -1803079040])

  def test_every_purpose_and_number_has_a_stream_of_its_own(self) -> None:
    purposes: list[tuple[Any, ...]] = [
        ('cohort',), ('cohort', 1), ('cohort', 11), ('cohort', 1, 1), ('client', 1, 1), ('client', 11, 2),
        ('client', 1, 12), ('client', 2, 1), ('client', 1, 2), ('client', -1, 2), ('model',), ('client', 1, b'\0'),
        ('client', 1, b'\0\1'), ('client', 1, b'\1'),
    ]  # fmt: skip
    draws = [_SEED.stream(*purpose).random(4).tolist() for purpose in purposes]
    for (purpose, one), (other_purpose, other) in itertools.combinations(zip(purposes, draws, strict=True), 2):
      self.assertEmpty(set(one) & set(other), f'{purpose} and {other_purpose}')

  def test_another_number_is_another_seed(self) -> None:
    streams = {tuple(seeds.Seed.from_number(number).stream('cohort', 1).random(2)) for number in (-1, 0, 1, 2**70)}
    self.assertLen(streams, 4)

  def test_a_stream_is_uniform(self) -> None:
    """Fails by chance once in 15,000 times for another seed: four standard deviations."""
    draws = _SEED.stream('cohort', 1).random(10_000)
    self.assertLess(abs(draws.mean() - 0.5), 4 * np.sqrt(1 / 12 / 10_000))

  def test_neighbouring_streams_are_not_correlated(self) -> None:
    """Fails by chance once in 15,000 times for another seed: four standard deviations."""
    one, other = (_SEED.stream('cohort', number).random(10_000) for number in (1, 2))
    self.assertLess(abs(np.corrcoef(one, other)[0, 1]), 4 / np.sqrt(10_000))

  def test_tensor_seeds_have_the_form_that_tensorflow_wants(self) -> None:
    drawn = [_SEED.tensor_seed(purpose) for purpose in ('noise', 'rotation')]
    self.assertEqual([(seed.dtype, seed.shape) for seed in drawn], [(np.dtype(np.int32), (2,))] * 2)
    self.assertNotEqual(drawn[0].tolist(), drawn[1].tolist())

  def test_keys_are_secrets_of_their_purpose(self) -> None:
    keys = {_SEED.key('noise'), _SEED.key('cohort', 1), _SEED.key('cohort', 2), _SEED.key('model')}
    self.assertEqual({len(key) for key in keys}, {32})
    self.assertLen(keys, 4)
    self.assertNotEqual(_SEED.key('noise'), seeds.Seed.from_number(2).key('noise'))

  def test_a_client_has_other_seeds_in_each_round(self) -> None:
    drawn = {_SEED.client_seeds(number, client).tobytes() for number in (1, 2) for client in (bytes(16), b'1' * 16)}
    self.assertLen(drawn, 4)
    self.assertEqual(_SEED.client_seeds(1, bytes(16)).shape, (2, 2))

  def test_the_system_never_gives_the_same(self) -> None:
    drawn = {seeds.Seed.from_system().secret for _ in range(100)}
    self.assertLen(drawn, 100)
    self.assertEqual({len(secret) for secret in drawn}, {32})

  @parameterized.parameters(_SEED, seeds.Seed(b'open sesame'))
  def test_is_not_printed(self, seed: seeds.Seed) -> None:
    for text in (repr(seed), str(seed), f'{seed}'):
      self.assertEqual(text, 'Seed()')


if __name__ == '__main__':
  absltest.main()
