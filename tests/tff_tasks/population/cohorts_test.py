"""Tests of what is true of the cohorts of every sampler."""

from collections.abc import Sequence
import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks.population.samplers import draws
from tff_tasks.population import cohorts
from tff_tasks.population import seeds
from tff_tasks.population.samplers import base

_ROUNDS = 2_000


@dataclasses.dataclass(frozen=True)
class Seldom(base.Sampler):
  """Invites those who were invited least often, and of those the ones whose last time is longest ago."""

  def cohort(self, draw: base.Draw) -> np.ndarray:
    times, last_step = draw.invitations()
    order = draw.order('cohort', draw.round_number)
    return order[np.lexsort((last_step[order], times[order]))][: draw.size.clients_per_round]


@dataclasses.dataclass(frozen=True)
class Wrong(base.Sampler):
  """Returns what is no cohort."""

  what: str

  def cohort(self, draw: base.Draw) -> np.ndarray:
    wrong = {'shares': [0.5], 'table': [[1, 2]], 'one_twice': [3, 1, 3], 'large': [50], 'negative': [-1]}
    return np.array(wrong[self.what])


_SELDOM = f'{__name__}:Seldom'


class CohortsTest(parameterized.TestCase):
  @parameterized.parameters(*draws.ALL, (_SELDOM, ()))
  def test_a_round_has_one_cohort(self, sampling: str, options: Sequence[str]) -> None:
    plan = draws.plan(sampling, options)
    cohort = cohorts.Cohorts(plan, draws.SEED, draws.ids(50)).draw(3)
    self.assertEqual(cohort.dtype, np.int64)
    self.assertEqual(cohort.tolist(), draws.draw(plan, 3, seed=seeds.Seed.from_number(5))[2])

  @parameterized.parameters(*draws.ALL)
  def test_depends_on_the_seed_and_the_round(self, sampling: str, options: Sequence[str]) -> None:
    drawn = [draws.draw(draws.plan(sampling, options), 20, seed=seeds.Seed.from_number(number)) for number in range(5)]
    self.assertLen({tuple(cohort) for rounds in drawn for cohort in rounds}, 100)

  @parameterized.parameters(*draws.ALL)
  def test_members_are_sorted_and_do_not_repeat(self, sampling: str, options: Sequence[str]) -> None:
    for cohort in draws.draw(draws.plan(sampling, options), 100):
      self.assertTrue((np.diff(cohort) > 0).all())
      self.assertContainsSubset(cohort, range(50))

  @parameterized.parameters(*draws.ALL)
  def test_everyone_joins_as_often(self, sampling: str, options: Sequence[str]) -> None:
    """Fails by chance about once in 3,000 times for another seed: 50 clients, 4.5 standard deviations."""
    shares = draws.joined(draws.plan(sampling, options), _ROUNDS).mean(axis=0)
    self.assertLess(np.abs(shares - 0.2).max(), 4.5 * np.sqrt(0.2 * 0.8 / _ROUNDS))

  @parameterized.parameters('poisson', 'fixed')
  def test_rounds_are_independent(self, sampling: str) -> None:
    """Fails by chance once in 15,000 times for another seed: four standard deviations."""
    joined = draws.joined(draws.plan(sampling), _ROUNDS) - 0.2
    correlation = (joined[1:] * joined[:-1]).mean() / (0.2 * 0.8)
    self.assertLess(abs(correlation), 4 / np.sqrt(joined[1:].size))

  @parameterized.parameters(*draws.ALL)
  def test_the_order_of_clients_does_not_matter(self, sampling: str, options: Sequence[str]) -> None:
    plan, order = draws.plan(sampling, options), np.random.default_rng(0).permutation(50)
    drawn = draws.draw(plan, 7, draws.ids(50)[order])
    for shuffled, cohort in zip(drawn, draws.draw(plan, 7), strict=True):
      self.assertCountEqual(order[shuffled].tolist(), cohort)

  def test_ids_that_are_not_those_of_the_plan_are_refused(self) -> None:
    for ids in (draws.ids(49), draws.ids(51), draws.ids(50)[:, :8]):
      with self.assertRaisesRegex(ValueError, 'Expected 16 bytes for each of 50 clients, found shape'):
        cohorts.Cohorts(draws.plan('poisson'), draws.SEED, ids)

  @parameterized.parameters(
    ('shares', 'Expected a list of indices of clients from .*Wrong, found float64 of shape'),
    ('table', r'found int64 of shape \(1, 2\): correct its method cohort'),
    ('one_twice', 'Expected different indices of 50 clients from .*Wrong, found others or one twice'),
    ('large', 'Expected different indices'),
    ('negative', 'Expected different indices'),
  )
  def test_a_sampler_that_returns_no_cohort_is_refused(self, what: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      draws.draw(draws.plan(f'{__name__}:Wrong', (f'what={what}',)), 1)


class InvitationsTest(absltest.TestCase):
  def test_are_those_of_the_rounds_before(self) -> None:
    joined = draws.joined(draws.plan(_SELDOM, (), 50, 20), 5)
    self.assertEqual(joined.sum(axis=0).tolist(), [2] * 50)

  def test_are_the_same_for_a_run_that_goes_on(self) -> None:
    """A resumed run begins with a later round; the sampler sees the invitations of all rounds before."""
    plan = draws.plan(_SELDOM, (), 50, 15)
    whole = draws.draw(plan, 9)
    for last_round in (0, 3, 8):
      resumed = cohorts.Cohorts(plan, draws.SEED, draws.ids(50))
      rest = [resumed.draw(number).tolist() for number in range(last_round + 1, 10)]
      self.assertEqual(rest, whole[last_round:])
    self.assertEqual(resumed.draw(2).tolist(), whole[1])

  def test_begin_anew_with_a_secret(self) -> None:
    """A branch has a secret and invitations of its own."""
    plan = draws.plan(_SELDOM, (), 50, 25)
    branch = cohorts.Cohorts(plan, draws.SEED, draws.ids(50), first_round=7)
    self.assertCountEqual([*branch.draw(7), *branch.draw(8)], range(50))

  def test_an_epoch_begins_with_the_secret(self) -> None:
    branch = cohorts.Cohorts(draws.plan('cyclic'), draws.SEED, draws.ids(50), first_round=4)
    self.assertCountEqual(np.concatenate([branch.draw(number) for number in range(4, 9)]), range(50))

  def test_cannot_be_changed_by_a_sampler(self) -> None:
    found: list[base.Invitations] = []

    class Greedy(Seldom):
      def cohort(self, draw: base.Draw) -> np.ndarray:
        found.append(draw.invitations())
        return super().cohort(draw)

    plan = draws.plan('poisson')
    plan.__dict__['sampler'] = Greedy()
    draws.draw(plan, 2)
    for array in found[-1]:
      with self.assertRaises(ValueError):
        array[0] = 7


if __name__ == '__main__':
  absltest.main()
