"""Tests of what a run says before its first round."""

from typing import Any

from absl.testing import absltest

from contracts import personalization
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.evaluation import baselines
from tff_tasks.evaluation import evaluation
from tff_tasks.population import seeds
from tff_tasks.training import announcement
from tff_tasks.training import starting


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

  def test_says_which_layers_are_local_and_how_users_are_measured(self) -> None:
    tuning = personalization.FineTuning(1, 0.5, 4, ('dense', 'logits'))
    start = starting.Start(fakes.history(), seeds.Seed.from_number(1))
    _, local, *_ = announcement.describe(fakes.CONFIG, start, -1, 'next_character', 3000, 2500, tuning)
    self.assertEqual(
      local,
      'Local layers: dense, logits. Each client reconstructs them in each round and never sends them: an update has '
      '2,500 numbers.',
    )
    measured = baselines.Baselines(self.shards).measure('test')
    _, how, *_ = announcement.describe_evaluation(fakes.CONFIG, self.shards, 'test', measured, tuning)
    self.assertIn('reconstruct the local layers on one half of their examples and are measured on the other', how)
    found = evaluation.Evaluation(1.0, 0.25, 0.5, {})
    ends = '25.0%, as a mean over users 50.0%.'
    self.assertEqual(announcement.describe_accuracy(self.shards, found), f'Accuracy on 15 test users: {ends}')
    self.assertEqual(
      announcement.describe_accuracy(self.shards, found, tuning),
      f'Accuracy on 15 test users with the local layers at their initial weights: {ends}',
    )

  def test_clients_without_a_person_are_not_called_users(self) -> None:
    found = evaluation.Evaluation(1.0, 0.25, 0.5, {})
    self.shards.manifest['declaration'] = {'partition': {'kind': 'uniform'}}
    self.assertEqual(
      announcement.describe_accuracy(self.shards, found),
      'Accuracy on 15 simulated test clients: 25.0%, as a mean over clients 50.0%.',
    )

  def test_says_where_it_goes_on(self) -> None:
    self._begin('run', total_rounds=2)
    self.assertStartsWith(self._begin('run', total_rounds=4)[0], 'Resuming after round 2: 4 rounds of ')
    branch = self._begin('branch', total_rounds=6, branch_from=self.path('run'))
    self.assertRegex(branch[0], f'^Branched from .*{self.path("run")}.*: 6 rounds of ')


if __name__ == '__main__':
  absltest.main()
