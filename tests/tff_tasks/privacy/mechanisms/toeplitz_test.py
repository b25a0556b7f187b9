"""Tests the cost of correlated noise against matrices written out, and against every way to take part."""

from collections.abc import Iterator
import itertools
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
import numpy as np
from scipy import linalg

from tff_tasks.population.samplers import base as samplers_base
from tff_tasks.population.samplers import cyclic
from tff_tasks.population.samplers import fixed
from tff_tasks.population.samplers import min_separation
from tff_tasks.population.samplers import poisson
from tff_tasks.privacy.mechanisms import base
from tff_tasks.privacy.mechanisms import bisr
from tff_tasks.privacy.mechanisms import toeplitz

_SIZE = samplers_base.Size(60, 10)
_ROWS = 9


def _matrix(coefficients: tuple[float, ...], rounds: int) -> np.ndarray:
  """Returns C, written out."""
  column = np.zeros(rounds)
  column[: len(coefficients)] = coefficients[:rounds]
  return np.linalg.inv(linalg.toeplitz(column, np.zeros(rounds)))


def _patterns(rounds: int, participations: int, gap: int) -> Iterator[tuple[int, ...]]:
  """Yields every choice of rounds that a client may take part in."""
  for number in range(1, participations + 1):
    for chosen in itertools.combinations(range(rounds), number):
      if all(later - earlier >= gap for earlier, later in itertools.pairwise(chosen)):
        yield chosen


class SensitivityTest(parameterized.TestCase):
  @parameterized.product(bandwidth=(1, 2, 3, 5), participations=(1, 2, 3, 9), gap=(1, 2, 3, 4))
  def test_is_that_of_the_worst_way_to_take_part(self, bandwidth: int, participations: int, gap: int) -> None:
    coefficients = bisr.Bisr(bandwidth).coefficients
    columns = _matrix(coefficients, _ROWS).T
    worst = max(
      np.linalg.norm(sum(columns[index] for index in chosen)) for chosen in _patterns(_ROWS, participations, gap)
    )
    found = toeplitz.sensitivity(coefficients, _ROWS, participations, gap)
    self.assertBetween(found, worst, worst * (1 + 1e-8))

  def test_updates_in_other_directions_are_not_worse(self) -> None:
    matrix, random = _matrix(bisr.Bisr(3).coefficients, _ROWS), np.random.default_rng(0)
    found = toeplitz.sensitivity(bisr.Bisr(3).coefficients, _ROWS, 3, 3)
    for _ in range(200):
      updates = np.zeros((_ROWS, 4))
      for index in (0, 3, 6):
        update = random.normal(size=4)
        updates[index] = update / np.linalg.norm(update)
      self.assertLessEqual(np.linalg.norm(matrix @ updates), found)

  @parameterized.parameters(((1.0, 0.5),), ((1.0, -2.0),), ((1.0, -0.1, -0.5),))
  def test_refuses_coefficients_without_a_proof(self, coefficients: tuple[float, ...]) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected correlated noise .* not negative and do not grow, found 1, '):
      toeplitz.sensitivity(coefficients, 6, 2, 2)

  @parameterized.parameters(1, 4, 50)
  def test_the_inverse_is_that_of_the_matrix(self, rounds: int) -> None:
    coefficients = (2.0, -0.7, -0.2, -0.05)
    np.testing.assert_allclose(
      toeplitz.inverse(coefficients, rounds), _matrix(coefficients, rounds)[:, 0], rtol=1e-12, atol=1e-15
    )


class EventTest(parameterized.TestCase):
  @parameterized.parameters((min_separation.MinSeparation(3), 3, 3), (cyclic.Cyclic(), 2, 1))
  def test_is_one_gaussian_of_what_a_client_can_change(
    self, sampler: samplers_base.Sampler, participations: int, gap: int
  ) -> None:
    coefficients = bisr.Bisr(4).coefficients
    for available in (True, False):
      rounds = base.Rounds(_ROWS, sampler, _SIZE, available)
      found = toeplitz.event(coefficients, 2.0, rounds)
      assert isinstance(found, dp_accounting.GaussianDpEvent)
      columns = _matrix(coefficients, _ROWS)[:, : participations * gap : gap]
      self.assertAlmostEqual(found.noise_multiplier, 2.0 / np.linalg.norm(columns.sum(axis=1)), delta=1e-8)
      self.assertIsInstance(toeplitz.event(coefficients, 2.0, rounds._replace(number=0)), dp_accounting.NoOpDpEvent)

  @parameterized.parameters(poisson.Poisson(), fixed.Fixed(), min_separation.MinSeparation(1))
  def test_refuses_a_sampler_that_bounds_nothing(self, sampler: samplers_base.Sampler) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a sampler that bounds how often .*--sampling=min_separation'):
      toeplitz.event((1.0, -0.5), 2.0, base.Rounds(4, sampler, _SIZE))

  @parameterized.parameters(('min_gap', 0), ('min_gap', -1), ('most_rounds', 0))
  def test_refuses_bounds_below_1(self, method: str, found: int) -> None:
    message = f'Expected at least 1 from {method} of the sampler Cyclic, found {found}: correct it'
    with mock.patch.object(cyclic.Cyclic, method, return_value=found), self.assertRaisesRegex(ValueError, message):
      toeplitz.event((1.0, -0.5), 2.0, base.Rounds(4, cyclic.Cyclic(), _SIZE))


if __name__ == '__main__':
  absltest.main()
