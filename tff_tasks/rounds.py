"""The loop: select, train, evaluate, record, save. Knows nothing of models, privacy or files."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import time
from typing import Any

from tff_tasks import checkpoints
from tff_tasks import client_data
from tff_tasks import metrics
from tff_tasks.runtime import runtime as runtime_lib


@dataclasses.dataclass(frozen=True)
class Rounds:
  """What a run of rounds is made of.

  Attributes:
    runtime: Executes the learning process.
    cohort: Returns the cohort of a round; asked once a round, and one round ahead.
    add_noise: Returns the state that a round begins with, its noise in it.
    leave_out: Told of the clients that a round left out, if there are any; raises if they are to end the run.
    measure: Returns the figures of a finished round (0: the initial state); told whether to evaluate, and whether the
      round will be saved.
    record: Takes the figures of a finished round.
    save: Keeps a program state, so that the run can go on from it.
    rounds_per_eval: Rounds between evaluations.
    rounds_per_checkpoint: Rounds between calls of `save`.
    total_rounds: The last round, which is always evaluated and saved.
  """

  runtime: runtime_lib.Runtime
  cohort: Callable[[int], client_data.Cohort]
  add_noise: Callable[[int, Any], Any]
  leave_out: Callable[[Sequence[client_data.ClientError]], None]
  measure: Callable[[int, runtime_lib.RoundResult, bool, bool], metrics.RoundMetrics]
  record: Callable[[metrics.RoundMetrics], None]
  save: Callable[[int, Any], None]
  rounds_per_eval: int
  rounds_per_checkpoint: int
  total_rounds: int

  def run(self, start: checkpoints.ProgramState | None) -> Any:
    """Runs the rounds that are missing and returns the last state.

    Args:
      start: Where an earlier run stopped, or None to begin with round 0.
    """
    state, last_round = (start.state, start.round_number) if start else (self._begin(), 0)
    numbers = range(last_round + 1, self.total_rounds + 1)
    for round_number, (cohort, upcoming) in zip(numbers, _with_next(map(self.cohort, numbers)), strict=True):
      state = self._run_round(round_number, state, cohort, upcoming)
    return state

  def _begin(self) -> Any:
    started = time.monotonic()
    state = self.runtime.initialize()
    self._finish(0, runtime_lib.RoundResult(state, None, []), started)
    return state

  def _run_round(
      self, round_number: int, state: Any, cohort: client_data.Cohort, upcoming: client_data.Cohort | None
  ) -> Any:
    started = time.monotonic()
    result = self.runtime.next(self.add_noise(round_number, state), cohort, upcoming)
    if result.left_out:
      self.leave_out(result.left_out)
    self._finish(round_number, result, started)
    return result.state

  def _finish(self, round_number: int, result: runtime_lib.RoundResult, started: float) -> None:
    is_saved = self._is_due(round_number, self.rounds_per_checkpoint)
    row = self.measure(round_number, result, self._is_due(round_number, self.rounds_per_eval), is_saved)
    row.seconds = time.monotonic() - started
    # Recorded before it is saved: a kill in between runs the round again, and its row is dropped on resuming.
    self.record(row)
    if is_saved:
      self.save(round_number, result.state)

  def _is_due(self, round_number: int, every: int) -> bool:
    return round_number % every == 0 or round_number == self.total_rounds


def _with_next(cohorts: Iterator[client_data.Cohort]) -> Iterator[tuple[client_data.Cohort, client_data.Cohort | None]]:
  """Yields each cohort with the one after it."""
  cohort = next(cohorts, None)
  while cohort is not None:
    upcoming = next(cohorts, None)
    yield cohort, upcoming
    cohort = upcoming
