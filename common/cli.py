"""How every program of ours starts and ends: flags first, and a user's mistake is one line and exit code 2. A leaf."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import difflib
import gc
import io
import os
import re
import select
import signal
import sys
import textwrap
from typing import Any, NoReturn, TextIO

from absl import app
from absl import flags
from absl import logging

from common import printable
from common import signals

USAGE_ERROR = 2

# How alike (of difflib, at most 1) an unknown flag must be to one of ours to be taken for a misspelt one.
_RESEMBLES = 0.8
_HELP = re.compile('--?(h|help|helpshort|helpfull|helpxml)').fullmatch

# What absl says of a required flag.
_REQUIRED = 'must have a value other than None'

# Names of classes, because nothing here may import Arrow or TensorFlow.
_EXHAUSTED = frozenset({'MemoryError', 'ArrowMemoryError', 'ResourceExhaustedError'})

# Holds the id of a program of ours that runs this one as a step of its own.
_PARENT = 'POCKETFED_PARENT'

_topics: dict[str, list[str]] = {}


def fail(message: object) -> NoReturn:
  """Ends the program with one line on standard error and exit code 2."""
  print('error:', printable.show(' '.join(str(message).split())), file=sys.stderr)
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


def group_flags(topics: Mapping[str, Sequence[flags.FlagHolder | str]]) -> None:
  """Says under which heading `--help` lists the flags of a program; those under no heading come last."""
  for topic, members in topics.items():
    _topics[topic] = [flags.FLAGS[member if isinstance(member, str) else member.name].name for member in members]


def run(main: Callable[[], None]) -> None:
  """Parses the flags, then calls `main`.

  A `ValueError` or `OSError` from `main` is a mistake in what the user gave (a flag, a file, a full disk), and its
  message is all that the user needs, as it is where the memory does not suffice; any other exception is ours and keeps
  its traceback. A reader of our output that goes away (`| head`) ends the program without a word.
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


def can_redraw(stream: TextIO) -> bool:
  """Says whether a line that is written to the stream can be taken back: on a terminal, unless it is a dumb one."""
  return stream.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'


def step_environment() -> dict[str, str]:
  """Returns the environment of a program of ours that this one runs as a step: only one of the two reports Ctrl-C."""
  return {**os.environ, _PARENT: str(os.getpid())}


def _run(main: Callable[[Sequence[str]], None], parse_flags: Callable[[list[str]], list[str]]) -> None:
  """Does what `absl.app.run` does, which a program that imports TensorFlow late cannot use.

  TensorFlow asks absl to be called back once the program has begun, and takes its import for the beginning if
  `app.run` came before; Keras then builds layers as if TensorFlow 2 were switched off.
  """
  signals.handle()
  _print_on_any_terminal()
  logging.use_absl_handler()
  app.define_help_flags()
  try:
    main(_parse(sys.argv, parse_flags)[1:])
    _flush()
  except BaseException as error:
    signals.settle()
    _report(error)
    raise
  signals.settle()


def _report(error: BaseException) -> None:
  """Ends the program as its user should see it, or returns if the error is a mistake of ours."""
  number = signals.received()
  if number is not None and isinstance(error, (Exception, signals.Ended)):  # A library may have wrapped our exit.
    if number == signal.SIGINT and os.environ.get(_PARENT) != str(os.getppid()):
      print('Interrupted: type the same command to go on.', file=sys.stderr)
    raise signals.Ended(128 + number) from None
  if _silence_unread() and _is_caused_by(error, BrokenPipeError):
    sys.exit(128 + signal.SIGPIPE)
  if _EXHAUSTED.intersection(kind.__name__ for kind in type(error).__mro__):
    fail(f'Expected enough memory, found it used up ({_shorten(error)}): end other programs or take a larger machine.')
  if isinstance(error, (ValueError, OSError, flags.Error)):  # OSError: also a flagfile that cannot be read.
    fail(' '.join([str(error), *getattr(error, '__notes__', ())]))


def _shorten(error: BaseException) -> str:
  return next(iter(str(error).splitlines()), '')[:200] or type(error).__name__


def _flush() -> None:
  if sys.stdout:
    sys.stdout.flush()


def _silence_unread() -> bool:
  """Says whether nobody reads our output any more; what is still to be written then goes nowhere."""
  unread = select.poll()
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Of a console that is closed or of a test.
      unread.register(stream.fileno(), 0)
  gone = [number for number, events in unread.poll(0) if events & select.POLLERR]
  for number in gone:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
  return bool(gone)


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
  while error is not None and not isinstance(error, kind):
    error = error.__cause__ or error.__context__
  return error is not None


def _print_on_any_terminal() -> None:
  """Makes what a terminal's encoding lacks appear as an escape sequence instead of ending the program."""
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # None where there is no console.
      stream.reconfigure(errors='backslashreplace')


def _parse(argv: list[str], parse_flags: Callable[[list[str]], list[str]]) -> list[str]:
  asked = next((argument.lstrip('-') for argument in argv[1:] if argument.startswith('-') and _HELP(argument)), None)
  if asked in ('h', 'help'):
    print(_help())
    _flush()
    sys.exit(0)
  if asked:
    try:
      return app.parse_flags_with_usage(argv)
    except SystemExit:
      sys.exit(0)  # absl ends with 1, as if it were a mistake to ask.
  try:
    return parse_flags(argv)
  except flags.IllegalFlagValueError as error:
    _report_missing(str(error))
    raise


def _report_missing(message: str) -> None:
  """Ends the program if flags are missing; absl says that with its own words around it."""
  missing = [flag for flag in _own_flags() if _is_required(flag) and flag.value is None]
  if missing and _REQUIRED in message:
    what = f': {_first_words(missing[0].help)}' if len(missing) == 1 else ''
    fail(f'Missing {", ".join(f"--{flag.name}" for flag in missing)}{what}. See --help.')
  said = re.search(r': (Missing .*)', message)
  if said:
    fail(said[1])


def _own_flags() -> list[Any]:
  modules = flags.FLAGS.flags_by_module_dict()
  return [flag for module, members in modules.items() if not module.startswith('absl') for flag in members]


def _is_required(flag: Any) -> bool:
  return any(_REQUIRED in validator.message for validator in flag.validators)


def _first_words(text: str) -> str:
  words = re.split(r'[.;:,](?:\s|$)', text)[0]
  return words[0].lower() + words[1:] if words[1:2].islower() else words


def _help() -> str:
  """Returns what the program is for and its flags by topic, those of a topic in the order of their definition."""
  own = {flag.name: flag for flag in _own_flags()}
  grouped = {name for names in _topics.values() for name in names}
  topics = {**_topics, 'Other' if _topics else 'Flags': [name for name in own if name not in grouped]}
  paragraphs = textwrap.dedent(sys.modules['__main__'].__doc__ or '').strip('\n').split('\n\n')
  lines = ['\n\n'.join(text if '\n ' in f'\n{text}' else flags.text_wrap(text) for text in paragraphs)]
  for topic, names in topics.items():
    lines += [f'\n{topic}:', *(_describe(own[name]) for name in names)] if names else []
  return '\n'.join([*lines, '\n--flagfile=FILE reads flags from a file, one a line; those typed after it win.'])


def _describe(flag: Any) -> str:
  notes = ['required'] if _is_required(flag) else [f'default: {flag.default_as_str}'] if flag.default_as_str else []
  notes += [flag.parser.syntactic_help] if flag.parser.syntactic_help else []
  name = f'--[no]{flag.name}' if flag.boolean else f'--{flag.name}'
  text = f'{name}: {flag.help}' + (f' ({"; ".join(notes)})' if notes else '')
  return flags.text_wrap(text, indent='      ', firstline_indent='  ')


def _parse_known(argv: list[str]) -> list[str]:
  try:
    remaining = flags.FLAGS(argv, known_only=True)
  except flags.Error:
    # The flag that is missing may be there, misspelt.
    _refuse_misspelt(argv[1:])
    raise
  _refuse_misspelt(remaining[1:])
  return remaining


def _refuse_misspelt(arguments: Sequence[str]) -> None:
  for argument in arguments:
    name = argument.lstrip('-').split('=')[0]
    is_unknown = argument.startswith('-') and name not in flags.FLAGS and name.removeprefix('no') not in flags.FLAGS
    meant = difflib.get_close_matches(name, flags.FLAGS, n=1, cutoff=_RESEMBLES) if is_unknown else None
    if meant:
      fail(f'Expected a known flag, found --{name}: did you mean --{meant[0]}?')
