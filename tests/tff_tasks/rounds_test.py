"""Tests of the loop with a runtime whose state is plain arithmetic: exact sums, and resumes that change nothing."""

from collections.abc import Iterable
import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tff_tasks import checkpoints
from tff_tasks import metrics
from tff_tasks import rounds
from tff_tasks import seeds
from tff_tasks.runtime import runtime as runtime_lib

_SEED = seeds.Seed.from_number(1)
_TOTAL = 10


class _Killed(Exception):
  pass


class _Arithmetic:
  """A runtime that starts at 1 and makes `3 * state + sum of clients` of it: order, repeats and gaps all show."""

  def __init__(self) -> None:
    self.initialized = 0

  def initialize(self) -> int:
    self.initialized += 1
    return 1

  def next(self, state: int, clients: Iterable[int]) -> runtime_lib.RoundResult:
    total = sum(clients)
    return runtime_lib.RoundResult(3 * state + total, {'sum': total})

  def close(self) -> None:
    pass


def _expected_states(total: int = _TOTAL) -> list[int]:
  """Clients `r` and `r + 1` of round `r` hold ten times their number."""
  states = [1]
  for number in range(1, total + 1):
    states.append(3 * states[-1] + 10 * (2 * number + 1))
  return states


@dataclasses.dataclass
class _Trial:
  """A run of rounds, with everything that it told the outside."""

  rounds_per_eval: int = 4
  rounds_per_checkpoint: int = 3
  total_rounds: int = _TOTAL
  kill_before: tuple[str, int] | None = None
  log: list[tuple[str, int]] = dataclasses.field(default_factory=list)
  rows: list[metrics.RoundMetrics] = dataclasses.field(default_factory=list)
  saved: list[checkpoints.ProgramState] = dataclasses.field(default_factory=list)
  results: dict[int, runtime_lib.RoundResult] = dataclasses.field(default_factory=dict)
  evaluated: list[int] = dataclasses.field(default_factory=list)
  runtime: _Arithmetic = dataclasses.field(default_factory=_Arithmetic)

  def run(self, start: checkpoints.ProgramState | None = None) -> Any:
    return rounds.Rounds(
        self.runtime, self._draw, self._batches, self._measure, self._record, self._save, self.rounds_per_eval,  # type: ignore[arg-type]
        self.rounds_per_checkpoint, self.total_rounds,
    ).run(start)  # fmt: skip

  def _note(self, what: str, number: int) -> None:
    if self.kill_before == (what, number):
      raise _Killed
    self.log.append((what, number))

  def _draw(self, number: int) -> np.ndarray:
    self._note('draw', number)
    return np.array([number, number + 1])

  def _batches(self, number: int, cohort: np.ndarray) -> Iterable[int]:
    self._note('read', number)
    return (10 * int(client) for client in cohort)

  def _measure(self, number: int, result: runtime_lib.RoundResult, is_evaluated: bool) -> metrics.RoundMetrics:
    self._note('measure', number)
    self.results[number] = result
    if is_evaluated:
      self.evaluated.append(number)
    return metrics.RoundMetrics(number)

  def _record(self, row: metrics.RoundMetrics) -> None:
    self._note('record', row.round)
    self.rows.append(row)

  def _save(self, number: int, state: Any) -> None:
    self._note('save', number)
    self.saved.append(checkpoints.ProgramState(number, _SEED, state))


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

  def test_the_order_within_a_round(self) -> None:
    trial = _Trial()
    trial.run()
    self.assertEqual(trial.log[:3], [('measure', 0), ('record', 0), ('save', 0)])
    for number in range(1, _TOTAL + 1):
      steps = [what for what, of in trial.log if of == number]
      saves = ['save'] if number in (3, 6, 9, 10) else []
      self.assertEqual(steps, ['draw', 'read', 'measure', 'record', *saves])

  @parameterized.parameters(
      (10, 1, list(range(11))), (10, 3, [0, 3, 6, 9, 10]), (10, 5, [0, 5, 10]), (10, 10, [0, 10]), (10, 99, [0, 10]),
      (1, 7, [0, 1]),
  )  # fmt: skip
  def test_evaluates_and_saves_every_so_often_and_at_the_end(self, total: int, every: int, expected: list[int]) -> None:
    trial = _Trial(total_rounds=total, rounds_per_eval=every)
    trial.run()
    self.assertEqual(trial.evaluated, expected)
    trial = _Trial(total_rounds=total, rounds_per_checkpoint=every)
    trial.run()
    self.assertEqual([state.round_number for state in trial.saved], expected)

  def test_what_is_saved_is_the_state_of_that_round(self) -> None:
    trial = _Trial()
    trial.run()
    for saved in trial.saved:
      self.assertEqual(saved.state, _expected_states()[saved.round_number])

  @parameterized.parameters(0, 1, 4, 9, 10)
  def test_a_resumed_run_neither_repeats_nor_skips(self, stopped_after: int) -> None:
    trial = _Trial()
    start = checkpoints.ProgramState(stopped_after, _SEED, _expected_states()[stopped_after])
    self.assertEqual(trial.run(start), _expected_states()[-1])
    self.assertEqual([row.round for row in trial.rows], list(range(stopped_after + 1, _TOTAL + 1)))
    self.assertEqual(trial.runtime.initialized, 0)

  @parameterized.product(what=('draw', 'read', 'measure', 'record', 'save'), number=(1, 3, 6, 10))
  def test_a_kill_anywhere_changes_nothing(self, what: str, number: int) -> None:
    killed = _Trial(kill_before=(what, number))
    if what == 'save' and number == 1:  # Not a round that is saved.
      killed.run()
      return
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
    self.assertLen(killed.rows, 1)

  def test_rows_say_how_long_the_round_took(self) -> None:
    trial = _Trial()
    trial.run()
    for row in trial.rows:
      assert row.seconds is not None
      self.assertBetween(row.seconds, 0, 5)


if __name__ == '__main__':
  absltest.main()
