"""A TOML file as values, with overrides from the command line, and where in it each value stands."""

from collections.abc import Iterator, Sequence
import dataclasses
import os
import re
import tomllib
from typing import Any

Path = tuple[str | int, ...]

_OVERRIDE = '--override='
_SHOWN = 80
_BARE_WORD = re.compile(r'[^\s"\'\[\]{}=,#]+')
_STATEMENT_MAY_END = re.compile(r'[]}"\']\s*(#.*)?$')
_TOML_MISTAKE = re.compile(r'(.*) \(at (?:line (\d+), column \d+|end of document)\)', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Document:
  """Values and their places; a value's path are the keys and the places in lists that lead to it.

  Attributes:
    name: The file.
    values: What it says, and what the overrides say instead.
    places: Where each value and each table begins, by path: a line of the file, or an override.
  """

  name: str
  values: dict[str, Any]
  places: dict[Path, str]

  @property
  def folder(self) -> str:
    """Where the files are that the document names."""
    return os.path.dirname(os.path.abspath(self.name))

  def get(self, path: Path) -> Any:
    """Returns the value at a path, or None if there is none: TOML has no null."""
    value: Any = self.values
    for key in path:
      inside = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
      value = inside.get(key)
    return value

  def paths_below(self, path: Path) -> Iterator[Path]:
    """Yields the paths of all that is inside the value at `path`, that around before that inside."""
    return ((*path, *below) for below in _paths(self.get(path)))

  def where(self, path: Path) -> str:
    """Returns where a value stands, or what is nearest around it."""
    around = (path[:length] for length in range(len(path), 0, -1))
    return next((self.places[near] for near in around if near in self.places), self.name)

  def is_overridden(self, path: Path) -> bool:
    return self.where(path).startswith(_OVERRIDE)

  def mistake(self, path: Path, message: object) -> ValueError:
    """Returns the error that says where the mistake at `path` is."""
    return ValueError(f'{self.where(path)}: {message}')


def read(path: str, overrides: Sequence[str] = ()) -> Document:
  """Reads a file and changes what the overrides, such as `limits.keep=latest`, say.

  Raises:
    ValueError: If the file cannot be read or is not TOML, or an override cannot be read.
  """
  try:
    with open(path, encoding='utf-8-sig') as file:
      text = file.read()
    document = Document(path, tomllib.loads(text), {})
  except tomllib.TOMLDecodeError as error:
    raise _explain(path, text, error) from error
  except RecursionError as error:
    raise ValueError(f'{path}: Expected lists and tables a few levels deep, found hundreds: correct it.') from error
  except OSError as error:
    raise ValueError(f'Expected a file that can be read, found {path} ({error.strerror}): correct the path.') from error
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: Expected UTF-8, found byte {error.object[error.start]:#x}: save it as UTF-8.') from error
  document.places.update({where: f'{path}, line {line}' for where, line in _find_lines(text).items()})
  for override in overrides:
    _override(document, override)
  return document


def _explain(path: str, text: str, error: tomllib.TOMLDecodeError) -> ValueError:
  found = _TOML_MISTAKE.fullmatch(str(error))
  message, line = found.groups() if found else (str(error), None)
  line = line or text.count('\n') + (not text.endswith('\n'))
  return ValueError(f'{path}, line {line}: Expected TOML, found a mistake ({message}): correct this line.')


def _find_lines(text: str) -> dict[Path, int]:
  """Returns the line in which each table and each value begins; what is inside a value begins where the value does."""
  lines: dict[Path, int] = {}
  lengths: dict[Path, int] = {}  # Of the arrays of tables so far.
  table: Path = ()
  for line, statement in _statements(text):
    values = tomllib.loads(statement)
    if statement.lstrip().startswith('['):
      table = _open_table(values, lengths)
      paths = [table[:length] for length in range(1, len(table) + 1)]
    else:
      paths = [(*table, *path) for path in _paths(values)]
    for path in paths:
      lines.setdefault(path, line)
  return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
  """Splits TOML into headers, assignments, comments and blank lines, each with its first line.

  A statement that goes over several lines is no TOML before its last one: the parser itself says where it ends.
  """
  gathered: list[str] = []
  for number, line in enumerate(text.replace('\r\n', '\n').split('\n'), 1):
    gathered.append(line)
    if len(gathered) > 1 and not _STATEMENT_MAY_END.search(line):
      continue  # Long lists are not parsed anew for each of their lines.
    statement = '\n'.join(gathered)
    try:
      tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
      continue
    yield number - len(gathered) + 1, statement
    gathered = []


def _open_table(header: dict[str, Any], lengths: dict[Path, int]) -> Path:
  """Returns the path of the table that a parsed header opens."""
  path: Path = ()
  inside: Any = header
  while inside:
    ((key, inside),) = inside.items()
    path = (*path, key)
    if isinstance(inside, list):
      lengths[path] = lengths.get(path, 0) + 1
      inside = inside[0]
    if path in lengths:
      path = (*path, lengths[path] - 1)
  return path


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
  inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
  for key, inner in inside:
    yield (*path, key)
    yield from _paths(inner, (*path, key))


def _override(document: Document, override: str) -> None:
  place = f'{_OVERRIDE}{override}'[:_SHOWN]
  name, _, written = override.partition('=')
  try:
    (*_, last) = _paths(tomllib.loads(f'{name} = 0'))
    path = tuple(map(str, last))
    value = _read_value(written.strip())
  except (ValueError, RecursionError) as error:  # Also of a comment, which is no key.
    raise ValueError(f'{place}: Expected TABLE.KEY=VALUE as in TOML, found a mistake: put text in quotes.') from error
  table = document.values
  for depth, key in enumerate(path[:-1], 1):
    if key not in table:
      table[key] = {}
      document.places[path[:depth]] = place
    table = table[key]
    if not isinstance(table, dict):
      raise ValueError(f'{place}: Expected {".".join(path[:depth])} to be a table: override it as a whole.')
  table[path[-1]] = value
  for old in [old for old in document.places if old[: len(path)] == path]:
    del document.places[old]
  document.places[path] = place


def _read_value(written: str) -> Any:
  try:
    (value,) = tomllib.loads(f'value = {written}').values()
    return value
  except tomllib.TOMLDecodeError:
    if _BARE_WORD.fullmatch(written):
      return written
    raise
