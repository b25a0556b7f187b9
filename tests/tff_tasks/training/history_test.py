"""Tests of what a run is and has released: nothing that was released is ever lost from the history."""

import dataclasses
import json

from absl.testing import absltest

from tests.tff_tasks import fakes
from tff_tasks.training import history

_ADDED = ('mechanism', 'mechanism_options', 'compression', 'compression_options')
_OTHER = dataclasses.replace(fakes.PLAN, noise_multiplier=2.0)


def _spans(value: history.History) -> list[tuple[int, int, int, float]]:
  return [
    (segment.attempt, segment.first_round, segment.last_round, segment.plan.noise_multiplier)
    for segment in value.segments
  ]


class HistoryTest(absltest.TestCase):
  def test_a_run_begins_before_its_first_round(self) -> None:
    first, second = (fakes.history('--a=1\n--b\n') for _ in range(2))
    self.assertEqual((first.flags, first.total_rounds), ({'--a': '--a=1', '--b': '--b'}, 4))
    self.assertEqual(first.current.rounds, 0)
    self.assertNotEqual(first.run, second.run)
    self.assertEmpty(first.parents)

  def test_comes_back_from_json(self) -> None:
    whole = fakes.history().after(3)
    whole = whole.with_lost(5).followed_by(fakes.history(plan=_OTHER), 3)
    self.assertEqual(history.History.from_json(json.loads(json.dumps(whole.to_json()))), whole)

  def test_a_plan_with_options_comes_back_and_one_of_before_there_were_any(self) -> None:
    options = ('separation=2',)
    plan = dataclasses.replace(fakes.PLAN, sampling='min_separation', sampling_options=options, availability='diurnal')
    plan = dataclasses.replace(plan, mechanism='bisr', mechanism_options=('bandwidth=2',))
    whole = fakes.history(plan=plan)
    self.assertEqual(history.History.from_json(json.loads(json.dumps(whole.to_json()))), whole)
    older = fakes.history()
    saved = json.loads(json.dumps(older.to_json()))
    for name in ('sampling_options', 'availability', 'capabilities', *_ADDED):
      del saved['segments'][0]['plan'][name]
    self.assertEqual(history.History.from_json(saved), older)

  def test_segments_without_rounds_are_not_accounted_for_but_the_last(self) -> None:
    run = fakes.history()
    self.assertEqual(run.accounted, (run.current,))
    again = run.followed_by(fakes.history(plan=_OTHER), 0)
    self.assertLen(again.segments, 2)
    self.assertEqual(again.accounted, (again.current,))
    run = run.after(3).followed_by(fakes.history(plan=_OTHER), 3)
    self.assertEqual([(segment.plan, segment.rounds) for segment in run.accounted], [(fakes.PLAN, 3), (_OTHER, 0)])

  def test_a_branch_counts_the_rounds_of_its_parent_and_those_that_it_lost(self) -> None:
    parent = fakes.history().after(4).with_lost(6)
    branch = parent.followed_by(fakes.history(plan=_OTHER), 4)
    self.assertEqual(_spans(branch), [(0, 1, 4, 1.0), (0, 5, 6, 1.0), (0, 5, 4, 2.0)])
    self.assertEqual(branch.parents, [parent.run[0]])
    self.assertEqual(dataclasses.replace(branch, total_rounds=10).rounds_in_all, 4 + 2 + 6)

  def test_nothing_is_lost_that_was_not_released(self) -> None:
    run = fakes.history().after(4)
    self.assertIs(run.with_lost(4), run)
    self.assertIs(run.with_lost(-1), run)


if __name__ == '__main__':
  absltest.main()
