"""Tests that an epoch has every client once."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks.population.samplers import draws
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import cyclic
from tff_tasks.privacy import segments as segments_lib


class CyclicTest(parameterized.TestCase):
  @parameterized.parameters((50, 10, [10] * 5), (50, 15, [15, 15, 15, 5]), (50, 50, [50]), (7, 6, [6, 1]))
  def test_an_epoch_has_every_client_once(self, population: int, clients: int, sizes: list[int]) -> None:
    drawn = draws.draw(draws.plan('cyclic', (), population, clients), 3 * len(sizes))
    epochs = [drawn[start : start + len(sizes)] for start in range(0, len(drawn), len(sizes))]
    for epoch in epochs:
      self.assertEqual([len(cohort) for cohort in epoch], sizes)
      self.assertCountEqual([client for cohort in epoch for client in cohort], range(population))

  def test_each_epoch_has_an_order_of_its_own(self) -> None:
    drawn = draws.draw(draws.plan('cyclic'), 20)
    self.assertLen({tuple(cohort) for cohort in drawn}, 20)

  @parameterized.parameters(1, 4, 5, 6, 11, 15)
  def test_nobody_takes_part_more_often_than_accounted_for(self, rounds: int) -> None:
    joined = draws.joined(draws.plan('cyclic'), rounds).sum(axis=0)
    self.assertEqual(cyclic.Cyclic().most_rounds(base.Size(50, 10), rounds), joined.max())

  def test_rounds_of_a_client_may_follow_each_other(self) -> None:
    joined = draws.joined(draws.plan('cyclic'), 20)
    gaps = [np.diff(np.flatnonzero(rounds)).min() for rounds in joined.T]
    self.assertEqual(cyclic.Cyclic().min_gap(base.Size(50, 10)), min(gaps))

  @parameterized.parameters((1, 1), (5, 1), (6, 2), (10, 2), (11, 3))
  def test_an_epoch_costs_one_round_of_everyone(self, rounds: int, participations: int) -> None:
    everyone = draws.private('fixed', (), 50)
    self.assertEqual(
      segments_lib.epsilon_of_plan(draws.private('cyclic'), rounds),
      segments_lib.epsilon_of_plan(everyone, participations),
    )

  def test_without_one_client_the_others_keep_their_order(self) -> None:
    before = draws.draw(draws.plan('cyclic', (), 50, 1), 50)
    after = draws.draw(draws.plan('cyclic', (), 49, 1), 49, draws.ids(50)[1:])
    self.assertEqual([client for (client,) in before if client], [client + 1 for (client,) in after])


if __name__ == '__main__':
  absltest.main()
