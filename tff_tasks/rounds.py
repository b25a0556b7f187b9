"""The loop: select, train, evaluate, record, save. Knows nothing of models, privacy or files."""

from collections.abc import Callable, Sequence
import dataclasses
import time
from typing import Any

import numpy as np

from tff_tasks import checkpoints
from tff_tasks import client_data
from tff_tasks import metrics
from tff_tasks.runtime import runtime as runtime_lib


@dataclasses.dataclass(frozen=True)
class Rounds:
  """What a run of rounds is made of.

  Attributes:
    runtime: Executes the learning process.
    draw_cohort: Returns the cohort of a round.
    round_clients: Returns what loads the clients of a cohort, with what they train on in a round.
    measure: Returns the figures of a finished round (0: the initial state); told whether to evaluate.
    record: Takes the figures of a finished round.
    save: Keeps a program state, so that the run can go on from it.
    rounds_per_eval: Rounds between evaluations.
    rounds_per_checkpoint: Rounds between calls of `save`.
    total_rounds: The last round, which is always evaluated and saved.
  """

  runtime: runtime_lib.Runtime
  draw_cohort: Callable[[int], np.ndarray]
  round_clients: Callable[[int, np.ndarray], Sequence[client_data.LoadClient]]
  measure: Callable[[int, runtime_lib.RoundResult, bool], metrics.RoundMetrics]
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
    if start is None:
      state, first_round = self._begin(), 1
    else:
      state, first_round = start.state, start.round_number + 1
    for round_number in range(first_round, self.total_rounds + 1):
      state = self._run_round(round_number, state)
    return state

  def _begin(self) -> Any:
    started = time.monotonic()
    state = self.runtime.initialize()
    self._finish(0, runtime_lib.RoundResult(state, None), started)
    return state

  def _run_round(self, round_number: int, state: Any) -> Any:
    started = time.monotonic()
    cohort = self.draw_cohort(round_number)
    result = self.runtime.next(state, self.round_clients(round_number, cohort))
    self._finish(round_number, result, started)
    return result.state

  def _finish(self, round_number: int, result: runtime_lib.RoundResult, started: float) -> None:
    row = self.measure(round_number, result, self._is_due(round_number, self.rounds_per_eval))
    row.seconds = time.monotonic() - started
    # Recorded before it is saved: a kill in between runs the round again, and its row is dropped on resuming.
    self.record(row)
    if self._is_due(round_number, self.rounds_per_checkpoint):
      self.save(round_number, result.state)

  def _is_due(self, round_number: int, every: int) -> bool:
    return round_number % every == 0 or round_number == self.total_rounds
