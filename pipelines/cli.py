"""How every program of ours starts and ends: flags first, and a user's mistake is one line and exit code 2. A leaf."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import difflib
import gc
import io
import signal
import sys
from typing import NoReturn

from absl import app
from absl import flags
from absl import logging

USAGE_ERROR = 2

# How alike (of difflib, at most 1) an unknown flag must be to one of ours to be taken for a misspelt one.
_RESEMBLES = 0.8


def fail(message: object) -> NoReturn:
  """Ends the program with one line on standard error and exit code 2."""
  print('error:', ' '.join(str(message).split()), file=sys.stderr)
  sys.exit(USAGE_ERROR)


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
  """Makes the imports within it faster: TensorFlow's take half the time.

  What a package defines stays as long as the program, yet Python's garbage collector would look through all of it again
  and again while there comes more, later whenever it has grown, and once more in the end.
  """
  gc.disable()
  try:
    yield
  finally:
    gc.freeze()
    gc.enable()


def run(main: Callable[[], None]) -> None:
  """Parses the flags, then calls `main`.

  A `ValueError` or `OSError` from `main` is a mistake in what the user gave (a flag, a file, a full disk), and its
  message is all that the user needs; any other exception is ours and keeps its traceback.
  """

  def refuse(arguments: Sequence[str]) -> None:
    if arguments:
      fail(f'Expected only flags, found {arguments[0]!r}: write --name=value.')
    main()

  _run(refuse, lambda argv: flags.FLAGS(argv))


def run_with_foreign_flags(main: Callable[[Sequence[str]], None]) -> None:
  """Like `run`, but `main` gets the arguments that are no flags of ours, in their order, and has to judge them.

  A flag that looks like a misspelt one of ours is an error all the same, at once.
  """
  _run(main, _parse_known)


def _run(main: Callable[[Sequence[str]], None], parse_flags: Callable[[list[str]], list[str]]) -> None:
  """Does what `absl.app.run` does, which a program that imports TensorFlow late cannot use.

  TensorFlow asks absl to be called back once the program has begun, and takes its import for the beginning if
  `app.run` came before; Keras then builds layers as if TensorFlow 2 were switched off.
  """
  for number in (signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) is not signal.SIG_IGN:  # As in a shell's background.
      signal.signal(number, _end_in_order)
  _print_on_any_terminal()
  logging.use_absl_handler()
  app.define_help_flags()
  try:
    arguments = _parse(sys.argv, parse_flags)
    main(arguments[1:])
  except _Ended:
    raise
  except Exception as error:
    if _signals:  # Raised by a library that wrapped our exit in an error of its own.
      raise _Ended(128 + _signals[-1]) from None
    if isinstance(error, (ValueError, OSError, flags.Error)):  # OSError: also a flagfile that cannot be read.
      fail(' '.join([str(error), *getattr(error, '__notes__', ())]))
    raise


def _print_on_any_terminal() -> None:
  """Makes what a terminal's encoding lacks appear as an escape sequence instead of ending the program."""
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # None where there is no console.
      stream.reconfigure(errors='backslashreplace')


def _parse(argv: list[str], parse_flags: Callable[[list[str]], list[str]]) -> list[str]:
  if not _asks_for_help(argv):
    return parse_flags(argv)
  try:
    return app.parse_flags_with_usage(argv)
  except SystemExit:
    sys.exit(0)  # absl ends with 1, as if it were a mistake to ask.


class _Ended(SystemExit):
  """The exit that a signal asked for."""


_signals: list[int] = []


def _end_in_order(number: int, _: object) -> NoReturn:
  """Turns a signal into an exit that runs the `finally` blocks, so that no process we started is left behind."""
  if not _signals and number == signal.SIGINT:
    print('Interrupted.', file=sys.stderr)
  _signals.append(number)
  raise _Ended(128 + number)


def _parse_known(argv: list[str]) -> list[str]:
  remaining = flags.FLAGS(argv, known_only=True)
  for argument in remaining[1:]:
    name = argument.lstrip('-').split('=')[0]
    meant = difflib.get_close_matches(name, flags.FLAGS, n=1, cutoff=_RESEMBLES) if argument.startswith('-') else None
    if meant:
      fail(f'Expected a known flag, found --{name}: did you mean --{meant[0]}?')
  return remaining


def _asks_for_help(argv: Sequence[str]) -> bool:
  return any(argument.lstrip('-').startswith('help') for argument in argv[1:] if argument.startswith('-'))
