"""A signal ends a program in order: `finally` blocks run, and none is lost. A leaf.

Python calls a handler wherever the program is. What the handler raises is lost if that is a callback of the garbage
collector, a `__del__` or a library that catches everything: a timer then raises it again, until the program ends.
"""

import signal
import sys
import time
from types import FrameType
from typing import NoReturn

# SIGHUP: the terminal is gone, as when a connection breaks.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SECONDS_TO_REMINDER = 0.1
_SECONDS_BETWEEN_REMINDERS = 0.5
# For so long, cleaning up is not disturbed: neither by another signal nor by a reminder.
_PATIENCE_SECONDS = 3.0


class Ended(SystemExit):
  """The exit that a signal asked for; its code is that of a shell, 128 and the number of the signal."""


class _State:
  """Which signal came first and when (of `time.monotonic`), and whether the program has unwound."""

  number: int | None = None
  time = 0.0
  is_settled = False


def handle() -> None:
  """Makes signals raise `Ended` in the main thread, but for those that are ignored, as in a shell's background."""
  for number in _ENDING:
    if signal.getsignal(number) is not signal.SIG_IGN:
      signal.signal(number, _end)
  signal.signal(signal.SIGALRM, _remind)
  sys.unraisablehook = _ignore_ended


def received() -> int | None:
  """Returns the number of the first signal that came, if one did."""
  return _State.number


def settle() -> None:
  """Says that the program has unwound: nothing is raised any more while the interpreter shuts down."""
  _State.is_settled = True
  signal.setitimer(signal.ITIMER_REAL, 0)


def _end(number: int, _: FrameType | None) -> None:
  if _State.number is None:
    _State.number, _State.time = number, time.monotonic()
    if not _State.is_settled:
      signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_REMINDER, _SECONDS_BETWEEN_REMINDERS)
      _raise()
  elif _is_overdue():  # Whoever asks again after a while wants cleaning up to end, too.
    if _State.is_settled:
      signal.signal(number, signal.SIG_DFL)
      signal.raise_signal(number)
    _raise()


def _remind(_: int, __: FrameType | None) -> None:
  """Raises `Ended` again if it was lost: if the program is not on its way out because of it."""
  handled = sys.exc_info()[1]
  error = handled
  while error is not None:
    if isinstance(error, Ended):
      return
    error = error.__context__
  # With another error, a library may have replaced ours by it outside of Python.
  if _State.number is not None and not _State.is_settled and (handled is None or _is_overdue()):
    _raise()


def _is_overdue() -> bool:
  return time.monotonic() - _State.time > _PATIENCE_SECONDS


def _raise() -> NoReturn:
  raise Ended(128 + (_State.number or 0))


def _ignore_ended(unraisable: 'sys.UnraisableHookArgs') -> None:
  """Says nothing of an `Ended` that is lost, because it comes again."""
  if not (unraisable.exc_type and issubclass(unraisable.exc_type, Ended)):
    sys.__unraisablehook__(unraisable)
