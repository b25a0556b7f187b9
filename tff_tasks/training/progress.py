"""The line that says how a run is doing: redrawn on a terminal, now and then a plain line in a file."""

from collections.abc import Iterable
import math
import shutil
import time
from typing import TextIO

from common import cli
from contracts import guarantees
from tff_tasks.training import metrics

_BAR_WIDTH = 20
# In a file, at most this many lines for a whole run, besides the first.
_LINES_IN_FILE = 20


class Progress:
  """Prints the progress of the rounds of a run: which round it is, and the figures of the last that was saved.

  Args:
    stream: A terminal or a file.
    first_round: The first round that is run now, later than 1 when resuming.
    total_rounds: The last round.
    clients_per_round: How many clients a round has, as expected: how many it had is known when it is saved.
    baseline: What the accuracy on held-out users is compared with.
  """

  def __init__(
    self, stream: TextIO, first_round: int, total_rounds: int, clients_per_round: int, baseline: str = ''
  ) -> None:
    self._stream = stream
    self._first_round = first_round
    self._total_rounds = total_rounds
    self._clients_per_round = clients_per_round
    self._baseline = f' ({baseline})' if baseline else ''
    self._started = time.monotonic()
    self._loss: float | None = None
    self._accuracy: float | None = None
    self._evaluated: metrics.RoundMetrics | None = None
    self._epsilon: float | None = None
    self._skipped = 0
    self._drawn = ''

  def update(self, rows: Iterable[metrics.RoundMetrics]) -> None:
    """Takes the figures of rounds that were saved; the next line shows them."""
    for row in rows:
      if row.eval_accuracy is not None and not math.isnan(row.eval_accuracy):  # NaN without held-out users.
        self._evaluated = row
      self._epsilon = row.epsilon  # The last row was saved and has one, unless nothing is promised any more.
      self._loss, self._accuracy = row.loss, row.accuracy
      self._skipped += row.skipped_clients or 0

  def tick(self, round_number: int) -> None:
    """Shows that a round is finished."""
    if round_number == 0:
      return
    line = self._line(round_number)
    if cli.can_redraw(self._stream):
      self._redraw(line, '\n' if round_number == self._total_rounds else '')
    elif self._is_due(round_number):
      print(line, file=self._stream, flush=True)

  def say(self, text: str) -> None:
    """Prints a line that stays, above the one that is redrawn."""
    if not cli.can_redraw(self._stream):
      print(text, file=self._stream, flush=True)
      return
    drawn = self._drawn
    self._redraw(text, '\n')
    self._redraw(drawn, '')

  def close(self) -> None:
    """Ends the line that is redrawn, without drawing it again: an error or the message of a Ctrl-C follows."""
    if self._drawn:
      self._stream.write('\n')
      self._stream.flush()
      self._drawn = ''

  def _redraw(self, line: str, end: str) -> None:
    """Draws over the line before, which a narrow terminal has broken into several."""
    breaks = max(len(self._drawn) - 1, 0) // shutil.get_terminal_size().columns
    self._stream.write((f'\033[{breaks}A' if breaks else '') + '\r\033[J' + line + end)
    self._stream.flush()
    self._drawn = '' if end else line

  def _is_due(self, round_number: int) -> bool:
    every = -(-self._total_rounds // _LINES_IN_FILE)
    return round_number % every == 0 or round_number in (self._first_round, self._total_rounds)

  def _line(self, round_number: int) -> str:
    bar = '#' * round(round_number / self._total_rounds * _BAR_WIDTH)
    seconds = self._seconds_a_round(round_number)
    parts = [
      f'round {round_number:{len(str(self._total_rounds))}}/{self._total_rounds} [{bar:.<{_BAR_WIDTH}}]',
      f'loss {self._loss:.3f}' if self._loss is not None else '',
      f'accuracy {self._accuracy:.1%}' if self._accuracy is not None else '',
      self._held_out(round_number),
      f'{self._clients_per_round / seconds:.0f} clients/s' if seconds else '',
      f'epsilon {guarantees.format_epsilon(self._epsilon)}' if self._epsilon is not None else '',
      f'{self._skipped:,} skipped' if self._skipped else '',
      f'{_clock(seconds * (self._total_rounds - round_number))} left',
    ]
    return '  '.join(part for part in parts if part)

  def _held_out(self, round_number: int) -> str:
    """Returns the last held-out accuracy, with its round if that is an earlier one: not every round is evaluated."""
    row = self._evaluated
    if not row:
      return ''
    after = f' after round {row.round}' if row.round != round_number else ''
    accuracy = f'{row.eval_accuracy:.1%}'
    if row.eval_after_reconstruction is not None:
      accuracy = f'{row.eval_after_reconstruction:.1%} reconstructed, {row.eval_before_reconstruction:.1%} before'
    return f'held-out {accuracy}{after}{self._baseline}'

  def _seconds_a_round(self, round_number: int) -> float:
    return (time.monotonic() - self._started) / (round_number - self._first_round + 1)


def _clock(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'
