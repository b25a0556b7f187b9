"""Tests that fixed cohorts have the size that is asked for."""

from absl.testing import absltest

from tests.tff_tasks.population.samplers import draws


class FixedTest(absltest.TestCase):
  def test_has_the_exact_size(self) -> None:
    for clients in (1, 10, 50):
      sizes = {len(cohort) for cohort in draws.draw(draws.plan('fixed', (), 50, clients), 100)}
      self.assertEqual(sizes, {clients})

  def test_draws_what_it_always_did(self) -> None:
    self.assertEqual(
      draws.draw(draws.plan('fixed'), 2),
      [[7, 9, 18, 25, 31, 32, 36, 41, 47, 48], [6, 9, 10, 14, 17, 25, 29, 30, 38, 39]],
    )

  def test_without_one_client_a_cohort_loses_that_one_and_gains_the_next(self) -> None:
    before = draws.draw(draws.plan('fixed'), 50)
    after = draws.draw(draws.plan('fixed', (), 49), 50, draws.ids(50)[1:])
    for old, new in zip(before, after, strict=True):
      others = {client + 1 for client in new}
      self.assertLen(set(old) - others, int(0 in old))
      self.assertContainsSubset(set(old) - {0}, others)


if __name__ == '__main__':
  absltest.main()
