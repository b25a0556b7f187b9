"""Tests of the loop with a runtime whose state is plain arithmetic: exact sums, and resumes that change nothing."""

from collections.abc import Sequence
import dataclasses
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tests.tff_tasks import fakes
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import loop
from tff_tasks.training import metrics
from tff_tasks.training import program_state

_SEED = seeds.Seed.from_number(1)
_TOTAL = 10


def _program_state(number: int, state: Any) -> program_state.ProgramState:
  return program_state.ProgramState(number, _SEED, {}, state, fakes.history(), metrics.Rows())


class _Killed(Exception):
  pass


class _Arithmetic:
  """A runtime that starts at 1 and makes `3 * state + sum of clients` of it: order, repeats and gaps all show.

  Clients are the numbers that they hold; negative ones are skipped.
  """

  def __init__(self) -> None:
    self.initialized = 0
    self.prepared: list[Any] = []
    self.upcoming: list[Any] = []

  def initialize(self) -> int:
    self.initialized += 1
    return 1

  def prepare(self, state: int, cohort: Sequence[int]) -> None:
    self.prepared.append((state, cohort))

  def next(self, state: int, cohort: Sequence[int], upcoming: Sequence[int] | None) -> runtime_lib.RoundResult:
    self.upcoming.append(upcoming)
    total = sum(client for client in cohort if client >= 0)
    errors = [client_data.ClientError(-client, 'negative') for client in cohort if client < 0]
    return runtime_lib.RoundResult(3 * state + total, {'sum': total}, errors)


def _expected_states(total: int = _TOTAL) -> list[int]:
  """Clients `r` and `r + 1` of round `r` hold ten times their number, and the noise of round `r` is `r`."""
  states = [1]
  for number in range(1, total + 1):
    states.append(3 * (states[-1] + number) + 10 * (2 * number + 1))
  return states


@dataclasses.dataclass
class _Trial:
  """A run of rounds, with everything that it told the outside."""

  rounds_per_eval: int = 4
  rounds_per_checkpoint: int = 3
  total_rounds: int = _TOTAL
  kill_before: tuple[str, int] | None = None
  bad_clients: dict[int, list[int]] = dataclasses.field(default_factory=dict)
  stops: bool = False
  log: list[tuple[str, int]] = dataclasses.field(default_factory=list)
  rows: list[metrics.RoundMetrics] = dataclasses.field(default_factory=list)
  saved: list[program_state.ProgramState] = dataclasses.field(default_factory=list)
  results: dict[int, runtime_lib.RoundResult] = dataclasses.field(default_factory=dict)
  evaluated: list[int] = dataclasses.field(default_factory=list)
  announced: list[int] = dataclasses.field(default_factory=list)
  before: list[int] = dataclasses.field(default_factory=list)
  skipped: list[list[int]] = dataclasses.field(default_factory=list)
  runtime: _Arithmetic = dataclasses.field(default_factory=_Arithmetic)

  def run(self, start: program_state.ProgramState | None = None) -> Any:
    return loop.Rounds(
      self.runtime,  # type: ignore[arg-type]
      self._cohort,  # type: ignore[arg-type]
      lambda number, state: state + number,
      self._check,
      self._measure,
      self._tick,
      self._save,
      self.rounds_per_eval,
      self.rounds_per_checkpoint,
      self.total_rounds,
    ).run(start)

  def _note(self, what: str, number: int) -> None:
    if self.kill_before == (what, number):
      raise _Killed
    self.log.append((what, number))

  def _cohort(self, number: int) -> list[int]:
    self._note('cohort', number)
    return [10 * number, 10 * (number + 1), *self.bad_clients.get(number, [])]

  def _check(self, number: int, state: Any, result: runtime_lib.RoundResult) -> None:
    self._note('check', number)
    self.before.append(state)
    self.skipped += [[error.client for error in result.skipped]] if result.skipped else []
    if self.stops and result.skipped:
      raise ValueError('stopped')

  def _measure(
    self, number: int, result: runtime_lib.RoundResult, is_evaluated: bool, is_saved: bool
  ) -> metrics.RoundMetrics:
    self._note('measure', number)
    self.results[number] = result
    self.evaluated += [number] if is_evaluated else []
    self.announced += [number] if is_saved else []
    return metrics.RoundMetrics(number)

  def _tick(self, number: int) -> None:
    self._note('tick', number)

  def _save(self, number: int, state: Any, rows: Sequence[metrics.RoundMetrics]) -> None:
    self._note('save', number)
    self.rows += rows
    self.saved.append(_program_state(number, state))


class RoundsTest(parameterized.TestCase):
  def test_sums_are_exact(self) -> None:
    trial = _Trial()
    self.assertEqual(trial.run(), _expected_states()[-1])
    self.assertEqual([trial.results[number].state for number in range(_TOTAL + 1)], _expected_states())
    self.assertEqual(trial.results[3].metrics, {'sum': 70})
    self.assertIsNone(trial.results[0].metrics)

  def test_every_round_is_recorded_once_from_round_0(self) -> None:
    trial = _Trial()
    trial.run()
    self.assertEqual([row.round for row in trial.rows], list(range(_TOTAL + 1)))
    self.assertEqual(trial.runtime.initialized, 1)
    self.assertEqual(trial.runtime.prepared, [(1, [10, 20])])

  def test_the_order_within_a_round(self) -> None:
    trial = _Trial()
    trial.run()
    expected = [('cohort', 1), ('measure', 0), ('save', 0), ('tick', 0)]
    for number in range(1, _TOTAL + 1):
      expected += [('cohort', number + 1)] if number < _TOTAL else []
      expected += [('check', number), ('measure', number), *([('save', number)] if number in (3, 6, 9, 10) else [])]
      expected += [('tick', number)]
    self.assertEqual(trial.log, expected)

  def test_a_check_knows_the_state_before_the_round(self) -> None:
    trial = _Trial()
    trial.run()
    self.assertEqual(trial.before, _expected_states()[:-1])

  def test_figures_wait_for_the_round_to_be_saved(self) -> None:
    trial = _Trial(kill_before=('tick', 5))
    self.assertRaises(_Killed, trial.run)
    self.assertEqual([row.round for row in trial.rows], [0, 1, 2, 3])

  @parameterized.parameters(0, 4, 9)
  def test_a_round_knows_the_cohort_after_it(self, stopped_after: int) -> None:
    trial = _Trial()
    trial.run(_program_state(stopped_after, _expected_states()[stopped_after]))
    following = [[10 * number, 10 * (number + 1)] for number in range(stopped_after + 2, _TOTAL + 1)]
    self.assertEqual(trial.runtime.upcoming, [*following, None])

  @parameterized.parameters(
    (10, 1, list(range(11))),
    (10, 3, [0, 3, 6, 9, 10]),
    (10, 5, [0, 5, 10]),
    (10, 10, [0, 10]),
    (10, 99, [0, 10]),
    (1, 7, [0, 1]),
  )
  def test_evaluates_and_saves_every_so_often_and_at_the_end(self, total: int, every: int, expected: list[int]) -> None:
    trial = _Trial(total_rounds=total, rounds_per_eval=every)
    trial.run()
    self.assertEqual(trial.evaluated, expected)
    trial = _Trial(total_rounds=total, rounds_per_checkpoint=every)
    trial.run()
    self.assertEqual([state.round_number for state in trial.saved], expected)
    self.assertEqual(trial.announced, expected)

  def test_what_is_saved_is_the_state_of_that_round(self) -> None:
    trial = _Trial()
    trial.run()
    for saved in trial.saved:
      self.assertEqual(saved.state, _expected_states()[saved.round_number])

  @parameterized.parameters(0, 1, 4, 9, 10)
  def test_a_resumed_run_neither_repeats_nor_skips(self, stopped_after: int) -> None:
    trial = _Trial()
    start = _program_state(stopped_after, _expected_states()[stopped_after])
    self.assertEqual(trial.run(start), _expected_states()[-1])
    self.assertEqual([row.round for row in trial.rows], list(range(stopped_after + 1, _TOTAL + 1)))
    self.assertEqual(trial.runtime.initialized, 0)

  @parameterized.product(what=('cohort', 'check', 'measure', 'save', 'tick'), number=(3, 6, 10))
  def test_a_kill_anywhere_changes_nothing(self, what: str, number: int) -> None:
    killed = _Trial(kill_before=(what, number))
    self.assertRaises(_Killed, killed.run)
    start = killed.saved[-1]
    resumed = _Trial()
    self.assertEqual(resumed.run(start), _expected_states()[-1])
    kept = [row.round for row in killed.rows if row.round <= start.round_number]
    self.assertEqual(kept + [row.round for row in resumed.rows], list(range(_TOTAL + 1)))
    self.assertEqual([state.round_number for state in killed.saved + resumed.saved], [0, 3, 6, 9, 10])

  def test_a_kill_before_the_first_save_starts_anew(self) -> None:
    killed = _Trial(kill_before=('save', 0))
    self.assertRaises(_Killed, killed.run)
    self.assertEmpty(killed.saved)
    self.assertEmpty(killed.rows)

  def test_skipped_clients_are_reported(self) -> None:
    trial = _Trial(bad_clients={2: [-5, -6], 9: [-5]})
    self.assertEqual(trial.run(), _expected_states()[-1])
    self.assertEqual(trial.skipped, [[5, 6], [5]])
    self.assertLen(trial.rows, _TOTAL + 1)

  def test_a_round_that_stops_the_run_is_neither_recorded_nor_saved(self) -> None:
    stopped = _Trial(bad_clients={6: [-5]}, stops=True)
    with self.assertRaisesRegex(ValueError, 'stopped'):
      stopped.run()
    self.assertEqual([row.round for row in stopped.rows], [0, 1, 2, 3])
    self.assertEqual([state.round_number for state in stopped.saved], [0, 3])
    self.assertEqual(_Trial(bad_clients={6: [-5]}).run(stopped.saved[-1]), _expected_states()[-1])

  def test_an_error_in_a_round_ends_the_run(self) -> None:
    trial = _Trial()
    with (
      mock.patch.object(trial.runtime, 'next', side_effect=RuntimeError('dead')),
      self.assertRaisesRegex(RuntimeError, 'dead'),
    ):
      trial.run()
    self.assertEqual([row.round for row in trial.rows], [0])

  def test_rows_say_how_long_the_round_took(self) -> None:
    trial = _Trial()
    trial.run()
    for row in trial.rows:
      assert row.seconds is not None
      self.assertBetween(row.seconds, 0, 5)


if __name__ == '__main__':
  absltest.main()
