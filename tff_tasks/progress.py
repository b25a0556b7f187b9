"""The line that says how a run is doing: redrawn on a terminal, now and then a plain line in a file."""

import math
import shutil
import time
from typing import TextIO

from pipelines import cli
from pipelines import guarantees
from tff_tasks import metrics

_BAR_WIDTH = 20
# In a file, at most this many lines for a whole run, besides the first.
_LINES_IN_FILE = 20


class Progress:
  """Prints the progress of the rounds of a run.

  Args:
    stream: A terminal or a file.
    first_round: The first round that is run now, later than 1 when resuming.
    total_rounds: The last round.
    baseline: What the accuracy on held-out users is compared with.
  """

  def __init__(self, stream: TextIO, first_round: int, total_rounds: int, baseline: str = '') -> None:
    self._stream = stream
    self._first_round = first_round
    self._total_rounds = total_rounds
    self._baseline = f' ({baseline})' if baseline else ''
    self._started = time.monotonic()
    # Not of every round: shown until the next is known.
    self._held_out: float | None = None
    self._epsilon: float | None = None
    self._left_out = 0
    self._drawn = ''

  def update(self, row: metrics.RoundMetrics) -> None:
    """Shows a finished round."""
    if row.eval_accuracy is not None and not math.isnan(row.eval_accuracy):  # NaN without held-out users.
      self._held_out = row.eval_accuracy
    self._epsilon = self._epsilon if row.epsilon is None else row.epsilon
    self._left_out += row.left_out_clients or 0
    if row.round == 0:
      return
    line = self._line(row)
    if cli.can_redraw(self._stream):
      self._redraw(line, '\n' if row.round == self._total_rounds else '')
    elif self._is_due(row.round):
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
    """Ends the line that is redrawn: what comes now, an error perhaps, begins on one of its own."""
    if self._drawn:
      self._redraw(self._drawn, '\n')

  def _redraw(self, line: str, end: str) -> None:
    """Draws over the line before, which a narrow terminal has broken into several."""
    breaks = max(len(self._drawn) - 1, 0) // shutil.get_terminal_size().columns
    self._stream.write((f'\033[{breaks}A' if breaks else '') + '\r\033[J' + line + end)
    self._stream.flush()
    self._drawn = '' if end else line

  def _is_due(self, round_number: int) -> bool:
    every = -(-self._total_rounds // _LINES_IN_FILE)
    return round_number % every == 0 or round_number in (self._first_round, self._total_rounds)

  def _line(self, row: metrics.RoundMetrics) -> str:
    done = row.round / self._total_rounds
    bar = '#' * round(done * _BAR_WIDTH)
    parts = [
        f'round {row.round:{len(str(self._total_rounds))}}/{self._total_rounds} [{bar:.<{_BAR_WIDTH}}]',
        f'loss {row.loss:.3f}' if row.loss is not None else '',
        f'accuracy {row.accuracy:.1%}' if row.accuracy is not None else '',
        f'held-out {self._held_out:.1%}{self._baseline}' if self._held_out is not None else '',
        f'{row.clients / row.seconds:.0f} clients/s' if row.clients and row.seconds else '',
        f'epsilon {guarantees.format_epsilon(self._epsilon)}' if self._epsilon is not None else '',
        f'{self._left_out:,} left out' if self._left_out else '',
        f'{_clock(self._seconds_left(row.round))} left',
    ]
    return '  '.join(part for part in parts if part)

  def _seconds_left(self, round_number: int) -> float:
    elapsed = time.monotonic() - self._started
    return elapsed / (round_number - self._first_round + 1) * (self._total_rounds - round_number)


def _clock(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'
