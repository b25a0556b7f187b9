"""How every program of ours starts and ends: flags checked first, a user's mistake is one line and exit code 2. A leaf."""

from collections.abc import Callable, Sequence
import sys
from typing import NoReturn

from absl import app
from absl import flags

USAGE_ERROR = 2


def fail(message: object) -> NoReturn:
  """Ends the program with one line on standard error and exit code 2."""
  print('error:', ' '.join(str(message).split()), file=sys.stderr)
  sys.exit(USAGE_ERROR)


def run(main: Callable[[], None]) -> None:
  """Parses the flags, then calls `main`.

  A `ValueError` or `OSError` from `main` is a mistake in what the user gave (a flag, a file, a full disk), and its
  message is all that the user needs; any other exception is ours and keeps its traceback.
  """

  def parse(argv: Sequence[str]) -> list[str]:
    try:
      remaining = app.parse_flags_with_usage(list(argv)) if _asks_for_help(argv) else flags.FLAGS(list(argv))
    except flags.Error as error:
      fail(error)
    except OSError as error:  # A flagfile that cannot be read.
      fail(error)
    if len(remaining) > 1:
      fail(f'Expected only flags, found {remaining[1]!r}: write --name=value.')
    return remaining

  def checked_main(_: Sequence[str]) -> None:
    try:
      main()
    except (ValueError, OSError) as error:
      fail(error)

  app.run(checked_main, flags_parser=parse)


def _asks_for_help(argv: Sequence[str]) -> bool:
  return any(argument.lstrip('-').startswith('help') for argument in argv[1:] if argument.startswith('-'))
