"""Tests that a seed gives the same numbers to the same purpose, others to others, and keeps its secret."""

import dataclasses
import io
import itertools
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import released_model
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.population import seeds
from tff_tasks.training import checkpoints
from tff_tasks.training import parts
from tff_tasks.training import run as run_lib

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
      ('cohort',),
      ('cohort', 1),
      ('cohort', 11),
      ('cohort', 1, 1),
      ('client', 1, 1),
      ('client', 11, 2),
      ('client', 1, 12),
      ('client', 2, 1),
      ('client', 1, 2),
      ('client', -1, 2),
      ('model',),
      ('client', 1, b'\0'),
      ('client', 1, b'\0\1'),
      ('client', 1, b'\1'),
    ]
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

  def test_neighboring_streams_are_not_correlated(self) -> None:
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


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
  return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


class ReuseTest(absltest.TestCase):
  """Real rounds of two runs that go on from one checkpoint with two learning rates, as an attacker would let them."""

  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    self._folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(f'{self._folder}/shards', sizes=(8,) * 30)
    self._parent = self._train('parent', total_rounds=1)

  def _train(self, name: str, seed: seeds.Seed | None = None, **changes: Any) -> np.ndarray:
    """Returns the weights of the released model of a run, whose secret may be given as no user can."""
    config = dataclasses.replace(
      fakes.CONFIG,
      output_dir=f'{self._folder}/{name}',
      server_optimizer='sgd',
      server_learning_rate=1.0,
      clients_per_round=15,
      model_size=20,
      **{'noise_multiplier': 4.0, **changes},
    )
    build_seed = (lambda _: seed) if seed else parts.build_seed
    with mock.patch.object(parts, 'build_seed', build_seed):
      flagfile = f'--client_learning_rate={name}\n--model_size={config.model_size}\n'
      run_lib.train(config, self._shards, flagfile, io.StringIO())
    weights = released_model.load(config.output_dir).weights
    return np.concatenate([weight.ravel().astype(np.float64) for weight in weights])

  def test_two_branches_do_not_share_their_noise(self) -> None:
    branch: dict[str, Any] = {'branch_from': f'{self._folder}/parent', 'total_rounds': 2}
    first = self._train('first', client_learning_rate=2.0, **branch)
    second = self._train('second', client_learning_rate=0.0, **branch)
    # What the attacker is after: what the clients of the first branch sent, without noise.
    saved = checkpoints.load_last(f'{self._folder}/first/secret/checkpoints')
    assert saved is not None
    noise_free = self._train('open', saved.seed, client_learning_rate=2.0, **branch | {'noise_multiplier': 0.0})
    sent = noise_free - self._parent
    # By chance it is above 0.5 for one in 10^20 or fewer: it has a deviation of about 1 / sqrt(400 weights).
    self.assertLess(abs(_cosine(first - second, sent)), 0.5)
    # The same computation finds the sum if both have one secret, so it can fail.
    reused = self._train('reused', saved.seed, client_learning_rate=0.0, **branch)
    self.assertGreater(_cosine(first - reused, sent), 0.999)


if __name__ == '__main__':
  absltest.main()
