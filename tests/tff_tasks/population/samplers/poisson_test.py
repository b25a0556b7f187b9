"""Tests that Poisson sampling is one coin for each client and round."""

import fractions
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks.population.samplers import draws
from tff_tasks.population import cohorts

_ROUNDS = 2_000


class PoissonTest(parameterized.TestCase):
  def test_has_the_size_of_independent_coins(self) -> None:
    """Fails by chance about once in 8,000 times for another seed: four standard deviations, twice."""
    sizes = draws.joined(draws.plan('poisson'), _ROUNDS).sum(axis=1)
    variance = 50 * 0.2 * 0.8
    self.assertLess(abs(sizes.mean() - 10), 4 * np.sqrt(variance / _ROUNDS))
    self.assertLess(abs(sizes.var() - variance), 4 * variance * np.sqrt(2 / _ROUNDS))

  def test_clients_are_independent_of_each_other(self) -> None:
    """Fails by chance about once in 10 million times for another seed: 1225 pairs, 6.5 standard deviations."""
    correlations = np.corrcoef(draws.joined(draws.plan('poisson'), _ROUNDS), rowvar=False)
    self.assertLess(np.abs(correlations[np.triu_indices(50, 1)]).max(), 6.5 / np.sqrt(_ROUNDS))

  def test_may_draw_nobody_and_everybody(self) -> None:
    sizes = {len(cohort) for cohort in draws.draw(draws.plan('poisson', (), 2, 1), 50)}
    self.assertEqual(sizes, {0, 1, 2})
    self.assertEqual(draws.draw(draws.plan('poisson', (), 7, 7), 1), [list(range(7))])

  def test_draws_what_it_always_did(self) -> None:
    self.assertEqual(draws.draw(draws.plan('poisson'), 2), [[7, 18, 25, 32, 41, 47], [9, 14, 25, 29]])

  @parameterized.parameters(((0, 1),), ((3, 17),), ((20, 49),))
  def test_without_some_clients_all_others_have_the_same_coins(self, removed: tuple[int, int]) -> None:
    rest, others = np.delete(draws.ids(50), removed, axis=0), np.delete(np.arange(50), removed)
    expected = draws.draw(draws.plan('poisson', (), 50, 25), 200)
    drawn = draws.draw(draws.plan('poisson', (), 48, 24), 200, rest)  # The same probability.
    for before, after in zip(expected, drawn, strict=True):
      self.assertEqual(others[after].tolist(), [client for client in before if client not in removed])

  def test_nobody_takes_part_more_often_than_accounted_for(self) -> None:
    """Coins just below and just above the probability, which is no multiple of 2**-64."""
    limit = int(fractions.Fraction(7 / 50) * 2**64)
    self.assertLessEqual(fractions.Fraction(limit, 2**64), fractions.Fraction(7 / 50))
    coins = np.array([0, limit - 1, limit, limit + 1, 2**64 - 1] * 10, np.uint64)
    with mock.patch.object(cohorts.Cohorts, '_coins', return_value=coins):
      self.assertEqual(
        draws.draw(draws.plan('poisson', (), 50, 7), 1), [[index for index in range(50) if index % 5 < 2]]
      )
      self.assertEqual(draws.draw(draws.plan('poisson', (), 50, 50), 1), [list(range(50))])

  def test_larger_cohorts_make_empty_rounds_rare(self) -> None:
    small, large = (draws.draw(draws.plan('poisson', (), 50, size), 200) for size in (1, 20))
    self.assertGreater(sum(not cohort for cohort in small), 40)  # 73 are expected.
    self.assertTrue(all(large))


if __name__ == '__main__':
  absltest.main()
