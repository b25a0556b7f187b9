"""Tests of what a run says before its first round."""

from typing import Any

from absl.testing import absltest

from tests.tff_tasks import runs


class AnnouncementTest(runs.RunsTestCase):
  def _begin(self, name: str, **changes: Any) -> list[str]:
    """Returns what a run says before its first round."""
    self.stream.truncate(0)
    self.train(name, **changes)
    return self.stream.getvalue().partition('\nround ')[0].lstrip('\0').splitlines()

  def test_says_what_is_trained_and_on_whom_it_is_evaluated(self) -> None:
    first, privacy, evaluation, *known = self._begin('run', total_rounds=2, clients_per_round=5)
    self.assertRegex(
      first, r'^Starting 2 rounds of next_character on the local runtime: \d+ weights, 30 clients, about 5'
    )
    self.assertStartsWith(privacy, 'Privacy: epsilon ')
    self.assertEqual(evaluation, 'Evaluation: every 2 rounds on 15 test users; in the end on 15 test users.')
    self.assertStartsWith(known[0], "Always answering 'c' is right ")

  def test_says_where_it_goes_on(self) -> None:
    self._begin('run', total_rounds=2)
    self.assertStartsWith(self._begin('run', total_rounds=4)[0], 'Resuming after round 2: 4 rounds of ')
    branch = self._begin('branch', total_rounds=6, branch_from=self.path('run'))
    self.assertRegex(branch[0], f'^Branched from .*{self.path("run")}.*: 6 rounds of ')


if __name__ == '__main__':
  absltest.main()
