"""Tests that the rounds of a client lie far enough apart."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks.population.samplers import draws
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import min_separation
from tff_tasks.privacy import segments as segments_lib


class MinSeparationTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 5)
  def test_rounds_of_a_client_lie_apart(self, separation: int) -> None:
    joined = draws.joined(draws.plan('min_separation', (f'separation={separation}',)), 200)
    gaps = np.concatenate([np.diff(np.flatnonzero(rounds)) for rounds in joined.T])
    self.assertEqual(gaps.min(), separation)
    self.assertEqual(set(gaps % separation), {0})
    gap = min_separation.MinSeparation(separation).min_gap(base.Size(50, 10))
    self.assertEqual(gap, separation if separation > 1 else None)  # One group is Poisson, in any number of rounds.
    most = min_separation.MinSeparation(separation).most_rounds(base.Size(50, 10), 200)
    self.assertLessEqual(joined.sum(axis=0).max(), most)

  def test_a_group_takes_part_with_the_probability_that_is_accounted_for(self) -> None:
    """Fails by chance about once in 7,000 times for another seed: 50 clients, 4.5 standard deviations."""
    joined = draws.joined(draws.plan('min_separation', ('separation=2',)), 2_000)
    shares = joined.sum(axis=0) / 1_000
    self.assertLess(np.abs(shares - 0.4).max(), 4.5 * np.sqrt(0.4 * 0.6 / 1_000))

  def test_everyone_of_a_group_takes_part_if_all_are_asked_for(self) -> None:
    plan = draws.plan('min_separation', ('separation=5',))
    drawn = draws.draw(plan, 10)
    self.assertCountEqual([client for cohort in drawn[:5] for client in cohort], range(50))
    self.assertEqual(drawn[5:], drawn[:5])
    most = min_separation.MinSeparation(5).most_rounds(base.Size(50, 10), 10)
    self.assertEqual(most, 2)

  @parameterized.parameters((1, 1), (4, 1), (5, 2), (9, 3))
  def test_a_client_pays_for_the_rounds_of_its_group(self, rounds: int, participations: int) -> None:
    plan = draws.private('min_separation', ('separation=4',), 5)
    self.assertEqual(
      segments_lib.epsilon_of_plan(plan, rounds),
      segments_lib.epsilon_of_plan(draws.private('poisson', (), 20), participations),
    )

  def test_a_separation_of_one_is_poisson(self) -> None:
    plan = draws.private('min_separation', ('separation=1',))
    self.assertEqual(segments_lib.epsilon_of_plan(plan, 40), segments_lib.epsilon_of_plan(draws.private('poisson'), 40))
    self.assertEqual(draws.draw(plan, 9), draws.draw(draws.plan('poisson'), 9))

  def test_without_some_clients_all_others_have_the_same_coins_and_groups(self) -> None:
    removed, options = (3, 17), ('separation=2',)
    rest, others = np.delete(draws.ids(50), removed, axis=0), np.delete(np.arange(50), removed)
    expected = draws.draw(draws.plan('min_separation', options, 50, 25), 100)
    drawn = draws.draw(draws.plan('min_separation', options, 48, 24), 100, rest)  # The same probability.
    for before, after in zip(expected, drawn, strict=True):
      self.assertEqual(others[after].tolist(), [client for client in before if client not in removed])

  def test_a_separation_is_a_number_of_rounds(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected separation of at least 1, found 0'):
      min_separation.MinSeparation(0)


if __name__ == '__main__':
  absltest.main()
