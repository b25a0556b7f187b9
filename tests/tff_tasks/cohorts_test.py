"""Tests that cohorts are drawn the way that the privacy plan accounts for."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_tasks import cohorts
from tff_tasks import privacy
from tff_tasks import seeds

_SEED = seeds.Seed.from_number(5)
_ROUNDS = 2_000


def _plan(sampling: str, population: int = 50, clients_per_round: int = 10) -> privacy.PrivacyPlan:
  return privacy.PrivacyPlan(population, clients_per_round, sampling, quantization_bits=0)


def _joined(plan: privacy.PrivacyPlan, rounds: int = _ROUNDS) -> np.ndarray:
  """Returns bools `[rounds, population]`: who took part."""
  joined = np.zeros((rounds, plan.population), bool)
  for index in range(rounds):
    joined[index, cohorts.draw_cohort(plan, _SEED, index + 1)] = True
  return joined


class CohortsTest(parameterized.TestCase):
  @parameterized.parameters('poisson', 'fixed')
  def test_a_round_has_one_cohort(self, sampling: str) -> None:
    plan = _plan(sampling)
    cohort = cohorts.draw_cohort(plan, _SEED, 3)
    self.assertEqual(cohort.dtype, np.int64)
    np.testing.assert_array_equal(cohort, cohorts.draw_cohort(plan, seeds.Seed.from_number(5), 3))

  @parameterized.parameters('poisson', 'fixed')
  def test_depends_on_the_seed_and_the_round(self, sampling: str) -> None:
    plan = _plan(sampling)
    drawn = {
        tuple(cohorts.draw_cohort(plan, seeds.Seed.from_number(number), round_number))
        for number in range(5)
        for round_number in range(20)
    }
    self.assertLen(drawn, 100)

  @parameterized.parameters('poisson', 'fixed')
  def test_members_are_sorted_and_do_not_repeat(self, sampling: str) -> None:
    for round_number in range(100):
      cohort = cohorts.draw_cohort(_plan(sampling), _SEED, round_number)
      self.assertTrue((np.diff(cohort) > 0).all())
      self.assertTrue(((cohort >= 0) & (cohort < 50)).all())

  def test_fixed_has_the_exact_size(self) -> None:
    for clients in (1, 10, 50):
      sizes = {len(cohorts.draw_cohort(_plan('fixed', 50, clients), _SEED, number)) for number in range(100)}
      self.assertEqual(sizes, {clients})

  def test_poisson_has_the_size_of_independent_coins(self) -> None:
    """Fails by chance about once in 8,000 times for another seed: four standard deviations, twice."""
    sizes = _joined(_plan('poisson')).sum(axis=1)
    variance = 50 * 0.2 * 0.8
    self.assertLess(abs(sizes.mean() - 10), 4 * np.sqrt(variance / _ROUNDS))
    self.assertLess(abs(sizes.var() - variance), 4 * variance * np.sqrt(2 / _ROUNDS))

  @parameterized.parameters('poisson', 'fixed')
  def test_everyone_joins_as_often(self, sampling: str) -> None:
    """Fails by chance about once in 3,000 times for another seed: 50 clients, 4.5 standard deviations."""
    shares = _joined(_plan(sampling)).mean(axis=0)
    self.assertLess(np.abs(shares - 0.2).max(), 4.5 * np.sqrt(0.2 * 0.8 / _ROUNDS))

  @parameterized.parameters('poisson', 'fixed')
  def test_rounds_are_independent(self, sampling: str) -> None:
    """Fails by chance once in 15,000 times for another seed: four standard deviations."""
    joined = _joined(_plan(sampling)) - 0.2
    correlation = (joined[1:] * joined[:-1]).mean() / (0.2 * 0.8)
    self.assertLess(abs(correlation), 4 / np.sqrt(joined[1:].size))

  def test_poisson_clients_are_independent_of_each_other(self) -> None:
    """Fails by chance about once in 10 million times for another seed: 1225 pairs, 6.5 standard deviations."""
    correlations = np.corrcoef(_joined(_plan('poisson')), rowvar=False)
    self.assertLess(np.abs(correlations[np.triu_indices(50, 1)]).max(), 6.5 / np.sqrt(_ROUNDS))

  def test_poisson_may_draw_nobody_and_everybody(self) -> None:
    sizes = {len(cohorts.draw_cohort(_plan('poisson', 2, 1), _SEED, number)) for number in range(50)}
    self.assertEqual(sizes, {0, 1, 2})
    self.assertLen(cohorts.draw_cohort(_plan('poisson', 7, 7), _SEED, 1), 7)


if __name__ == '__main__':
  absltest.main()
