"""The loop: select, train, evaluate, save. Knows nothing of models, privacy or files."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import itertools
import time
from typing import Any

from tff_tasks.population import client_data
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import metrics
from tff_tasks.training import program_state


@dataclasses.dataclass(frozen=True)
class Rounds:
  """What a run of rounds is made of.

  Attributes:
    runtime: Executes the learning process.
    cohort: Returns the cohort of a round; asked once a round, and one round ahead.
    add_noise: Returns the state that a round begins with, its noise in it.
    check: Given a round, the state before it and what it gave; raises if the run cannot go on from there.
    measure: Returns the figures of a finished round (0: the initial state); its arguments say whether to evaluate,
      and whether the round will be saved.
    tick: Called after each finished round with its number.
    save: Given a round, its state and the figures of all rounds since the last call; keeps them, so that the run can
      go on from there, and only then shows figures to anyone. A round that is not saved may be run again with the same
      noise on another sum, and nothing of both may be known.
    rounds_per_eval: Rounds between evaluations.
    rounds_per_checkpoint: Rounds between calls of `save`.
    total_rounds: The last round, which is always evaluated and saved.
  """

  runtime: runtime_lib.Runtime
  cohort: Callable[[int], client_data.Cohort]
  add_noise: Callable[[int, Any], Any]
  check: Callable[[int, Any, runtime_lib.RoundResult], None]
  measure: Callable[[int, runtime_lib.RoundResult, bool, bool], metrics.RoundMetrics]
  tick: Callable[[int], None]
  save: Callable[[int, Any, Sequence[metrics.RoundMetrics]], None]
  rounds_per_eval: int
  rounds_per_checkpoint: int
  total_rounds: int

  def run(self, start: program_state.ProgramState | None) -> Any:
    """Runs the rounds that are missing and returns the last state.

    Args:
      start: Where an earlier run stopped, or None to begin with round 0.
    """
    rows: list[metrics.RoundMetrics] = []
    numbers = range(start.round_number + 1 if start else 1, self.total_rounds + 1)
    cohorts: Iterator[client_data.Cohort] = map(self.cohort, numbers)
    if start:
      state = start.state
    else:
      first = next(cohorts)
      state, cohorts = self._begin(rows, first), itertools.chain([first], cohorts)
    for round_number, (cohort, upcoming) in zip(numbers, _with_next(cohorts), strict=True):
      started = time.monotonic()
      result = self.runtime.next(self.add_noise(round_number, state), cohort, upcoming)
      self.check(round_number, state, result)
      self._finish(round_number, result, started, rows)
      state = result.state
    return state

  def _begin(self, rows: list[metrics.RoundMetrics], first: client_data.Cohort) -> Any:
    started = time.monotonic()
    state = self.runtime.initialize()
    self.runtime.prepare(state, first)
    self._finish(0, runtime_lib.RoundResult(state, None, []), started, rows)
    return state

  def _finish(
    self, round_number: int, result: runtime_lib.RoundResult, started: float, rows: list[metrics.RoundMetrics]
  ) -> None:
    is_saved = self._is_due(round_number, self.rounds_per_checkpoint)
    row = self.measure(round_number, result, self._is_due(round_number, self.rounds_per_eval), is_saved)
    row.seconds = time.monotonic() - started
    rows.append(row)
    if is_saved:
      self.save(round_number, result.state, tuple(rows))
      rows.clear()
    self.tick(round_number)

  def _is_due(self, round_number: int, every: int) -> bool:
    return round_number % every == 0 or round_number == self.total_rounds


def _with_next(cohorts: Iterator[client_data.Cohort]) -> Iterator[tuple[client_data.Cohort, client_data.Cohort | None]]:
  """Yields each cohort with the one after it."""
  cohort = next(cohorts, None)
  while cohort is not None:
    upcoming = next(cohorts, None)
    yield cohort, upcoming
    cohort = upcoming
