"""Tests that cohorts are drawn the way that the privacy plan accounts for."""

import fractions
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_tasks.population import cohorts
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib

_SEED = seeds.Seed.from_number(5)
_ROUNDS = 2_000


def _plan(sampling: str, population: int = 50, clients_per_round: int = 10) -> plan_lib.PrivacyPlan:
  return plan_lib.PrivacyPlan(population, clients_per_round, sampling, quantization_bits=0)


def _ids(population: int) -> np.ndarray:
  """Returns ids that differ in as little as ids can."""
  return np.arange(2 * population, dtype='>u8').reshape(population, 2).view(np.uint8).copy()


def _draw(plan: plan_lib.PrivacyPlan, seed: seeds.Seed, round_number: int) -> np.ndarray:
  return cohorts.draw_cohort(plan, seed, round_number, _ids(plan.population))


def _joined(plan: plan_lib.PrivacyPlan, rounds: int = _ROUNDS) -> np.ndarray:
  """Returns bools `[rounds, population]`: who took part."""
  joined = np.zeros((rounds, plan.population), bool)
  for index in range(rounds):
    joined[index, _draw(plan, _SEED, index + 1)] = True
  return joined


class CohortsTest(parameterized.TestCase):
  @parameterized.parameters('poisson', 'fixed')
  def test_a_round_has_one_cohort(self, sampling: str) -> None:
    plan = _plan(sampling)
    cohort = _draw(plan, _SEED, 3)
    self.assertEqual(cohort.dtype, np.int64)
    np.testing.assert_array_equal(cohort, _draw(plan, seeds.Seed.from_number(5), 3))

  @parameterized.parameters('poisson', 'fixed')
  def test_depends_on_the_seed_and_the_round(self, sampling: str) -> None:
    plan = _plan(sampling)
    drawn = {
      tuple(_draw(plan, seeds.Seed.from_number(number), round_number))
      for number in range(5)
      for round_number in range(20)
    }
    self.assertLen(drawn, 100)

  @parameterized.parameters('poisson', 'fixed')
  def test_members_are_sorted_and_do_not_repeat(self, sampling: str) -> None:
    for round_number in range(100):
      cohort = _draw(_plan(sampling), _SEED, round_number)
      self.assertTrue((np.diff(cohort) > 0).all())
      self.assertTrue(((cohort >= 0) & (cohort < 50)).all())

  def test_fixed_has_the_exact_size(self) -> None:
    for clients in (1, 10, 50):
      sizes = {len(_draw(_plan('fixed', 50, clients), _SEED, number)) for number in range(100)}
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
    sizes = {len(_draw(_plan('poisson', 2, 1), _SEED, number)) for number in range(50)}
    self.assertEqual(sizes, {0, 1, 2})
    self.assertLen(_draw(_plan('poisson', 7, 7), _SEED, 1), 7)

  @parameterized.parameters(((0, 1),), ((3, 17),), ((20, 49),))
  def test_without_some_clients_all_others_have_the_same_coins(self, removed: tuple[int, int]) -> None:
    ids = _ids(50)
    rest, others = np.delete(ids, removed, axis=0), np.delete(np.arange(50), removed)
    for number in range(200):
      expected = _draw(_plan('poisson', 50, 25), _SEED, number)
      drawn = cohorts.draw_cohort(_plan('poisson', 48, 24), _SEED, number, rest)  # The same probability.
      self.assertEqual(others[drawn].tolist(), [client for client in expected.tolist() if client not in removed])

  def test_without_one_client_a_fixed_cohort_loses_that_one_and_gains_the_next(self) -> None:
    ids = _ids(50)
    for number in range(50):
      before = set(cohorts.draw_cohort(_plan('fixed'), _SEED, number, ids).tolist())
      after = set((cohorts.draw_cohort(_plan('fixed', 49), _SEED, number, ids[1:]) + 1).tolist())
      self.assertLen(before - after, int(0 in before))
      self.assertContainsSubset(before - {0}, after)

  def test_the_order_of_clients_does_not_matter(self) -> None:
    ids, order = _ids(50), np.random.default_rng(0).permutation(50)
    for sampling in ('poisson', 'fixed'):
      drawn = cohorts.draw_cohort(_plan(sampling), _SEED, 3, ids[order])
      self.assertCountEqual(order[drawn].tolist(), cohorts.draw_cohort(_plan(sampling), _SEED, 3, ids).tolist())

  def test_nobody_takes_part_more_often_than_accounted_for(self) -> None:
    """Coins just below and just above the probability, which is no multiple of 2**-64."""
    plan = _plan('poisson', 50, 7)
    limit = int(fractions.Fraction(plan.sampling_probability) * 2**64)
    self.assertLessEqual(fractions.Fraction(limit, 2**64), fractions.Fraction(plan.sampling_probability))
    coins = np.array([0, limit - 1, limit, limit + 1, 2**64 - 1] * 10, np.uint64)
    with mock.patch.object(cohorts, '_coins', return_value=coins):
      self.assertEqual(_draw(plan, _SEED, 1).tolist(), [index for index in range(50) if index % 5 < 2])
      self.assertLen(_draw(_plan('poisson', 50, 50), _SEED, 1), 50)

  def test_larger_cohorts_make_empty_rounds_rare(self) -> None:
    small, large = (_plan('poisson', 50, size) for size in (1, 20))
    self.assertGreater(sum(not _draw(small, _SEED, number).size for number in range(200)), 40)  # 73 are expected.
    self.assertTrue(all(_draw(large, _SEED, number).size for number in range(200)))

  def test_ids_that_are_not_those_of_the_plan_are_refused(self) -> None:
    for ids in (_ids(49), _ids(51), _ids(50)[:, :8]):
      with self.assertRaisesRegex(ValueError, 'Expected 16 bytes for each of 50 clients, found shape'):
        cohorts.draw_cohort(_plan('poisson'), _SEED, 1, ids)


if __name__ == '__main__':
  absltest.main()
