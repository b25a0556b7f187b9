"""Sides of a comparison that take turns: each runs rounds in a process of its own, and waits while another one does."""

from collections.abc import Iterator, Sequence
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import IO, NamedTuple

_ROOT = pathlib.Path(__file__).absolute().parent.parent
_SECONDS_TO_END = 20
_TURN_SECONDS = 0.5


class Answer(NamedTuple):
  """What some rounds took, and what the process (with those it started) has in memory after them, and had at most."""

  seconds: float
  xla: bool | None
  rss_mb: float
  peak_rss_mb: float


class MeasuredProcess:
  """A process of benchmarks.measured_process that has run its first round.

  Attributes:
    first: What that round took, building included.
  """

  def __init__(self, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    self._process, self._errors = process, errors
    self.first = self._read()

  def run(self, rounds: int) -> Answer:
    """Runs some rounds.

    Raises:
      ValueError: If the process ends meanwhile.
    """
    with contextlib.suppress(BrokenPipeError):  # It has ended: there is no answer, and an error to read.
      print(rounds, file=self._process.stdin)
    return self._read()

  def _read(self) -> Answer:
    line = self._process.stdout.readline() if self._process.stdout else ''
    if line:
      return Answer(**json.loads(line))
    self._process.wait()
    self._errors.seek(0)
    last = self._errors.read().decode(errors='replace').strip().rpartition('\n')[2]
    raise ValueError(
      f'Expected an answer of benchmarks.measured_process, found exit code {self._process.returncode}: {last}'
    )


@contextlib.contextmanager
def open_process(*arguments: str) -> Iterator[MeasuredProcess]:
  """Starts a process of benchmarks.measured_process, and ends it afterwards.

  Raises:
    ValueError: If its first round fails.
  """
  command = [sys.executable, '-m', 'benchmarks.measured_process', *arguments]
  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(
      command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, bufsize=1
    )
    try:
      yield MeasuredProcess(process, errors)
    finally:
      _end(process)


def _end(process: subprocess.Popen[str]) -> None:
  """Gives the process time to end what it has started."""
  process.terminate()
  try:
    process.communicate(timeout=_SECONDS_TO_END)
  except subprocess.TimeoutExpired:
    process.kill()
    process.communicate()


def interleave(sides: Sequence[MeasuredProcess], turns: int) -> list[list[Answer]]:
  """Returns the answers of each side, one for each turn, with the seconds of one round.

  A turn is as many rounds as fill half a second: what one round takes is too little to be told from noise.
  """
  rounds = []
  for side in sides:
    side.run(1)  # The second one may still compile something.
    rounds.append(max(1, round(_TURN_SECONDS / side.run(1).seconds)))
  answers: list[list[Answer]] = [[] for _ in sides]
  for _ in range(turns):
    for side, count, taken in zip(sides, rounds, answers, strict=True):
      answer = side.run(count)
      taken.append(answer._replace(seconds=answer.seconds / count))
  return answers
