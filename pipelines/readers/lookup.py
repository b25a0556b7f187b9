"""Columns by name, alike for all formats: keys of nested values such as `user.id`, names that are missing or repeated.

A column that has a dot in its own name wins over a nested key.
"""

from collections.abc import Mapping, Sequence
import difflib
import itertools
import json
import re
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.readers import base
from pipelines.readers import fingerprints

# By name, what is nested in each column; nothing where it holds plain values.
Names: TypeAlias = Mapping[str, 'Names']

_MOST_NAMES, _MOST_CHARACTERS = 20, 60
# Of rows whose keys are listed.
_LOOKED_AT = 64


def check(path: str, columns: Sequence[str], found: Sequence[str], nested: Sequence[str] = ()) -> None:
  """Checks that a file has each of the columns once.

  Args:
    path: The file.
    columns: Those asked for.
    found: The columns of the file.
    nested: Keys of nested values, with dots.

  Raises:
    DamagedFile: Naming the column, those there are, and the nearest one.
  """
  for column in fingerprints.without(columns):
    head = column if column in found else column.partition('.')[0]
    inner = [] if column in found else [name for name in nested if f'{column}.'.startswith(f'{name}.')]
    for name, number in [(head, found.count(head)), *((name, inner.count(name)) for name in inner)]:
      if number > 1:
        raise base.DamagedFile(
          f'Expected one column {name!r} in {path}, found {number} of that name: rename or remove the others.'
        )
    if column not in found and column not in nested:
      raise base.MissingColumn(describe_missing(column, path, [*found, *nested]), [*found, *nested])


def describe_missing(column: str, place: str, found: Sequence[str]) -> str:
  """Returns the message for a column that is not among those found."""
  folded = {name.casefold(): name for name in reversed(found)}
  nearest = difflib.get_close_matches(column.casefold(), folded, n=1)
  shown = ', '.join(map(_show, found[:_MOST_NAMES])) or 'none'
  more = f' and {len(found) - _MOST_NAMES:,} more' if len(found) > _MOST_NAMES else ''
  remedy = f'did you mean {_show(folded[nearest[0]])}?' if nearest else 'name one of these.'
  return f'Expected a column {column!r} in {place}, found {shown}{more}: {remedy}'


def list_nested(names: Names, start: str = '') -> list[str]:
  """Returns the keys of nested values, with dots."""
  found = []
  for name, below in names.items():
    found += [start + name] if start else []
    found += list_nested(below, f'{start}{name}.')
  return found


def find_path(column: str, names: Names) -> tuple[str, ...]:
  """Returns where a column is: its own name, or those of the values that it is nested in and its own; () if nowhere."""
  if column in names:
    return (column,)
  # A nested name may have a dot as well.
  for head, below in names.items():
    path = find_path(column.removeprefix(f'{head}.'), below) if below and column.startswith(f'{head}.') else ()
    if path:
      return (head, *path)
  return ()


def names_of(fields: pa.Schema | pa.StructType) -> Names:
  """Returns the names of columns or fields of pyarrow."""
  return {field.name: names_of(field.type) if pa.types.is_struct(field.type) else {} for field in fields}


def take(row: Mapping[str, Any], column: str) -> Any:
  """Returns the value of a column in a row of Python's values; None if there is none."""
  value = row.get(column)
  if value is not None or '.' not in column:
    return value
  found: Any = row
  for key in column.split('.'):
    found = found.get(key) if isinstance(found, Mapping) else None
  return found


def take_column(table: pa.Table | pa.RecordBatch, path: Sequence[str]) -> pa.Array | pa.ChunkedArray:
  """Returns the column at a path."""
  column = table.column(path[0])
  return pc.struct_field(column, list(path[1:])) if path[1:] else column


class SeenNames:
  """The names that rows of a file without a list of its columns have.

  Args:
    columns: Those asked for.
  """

  def __init__(self, columns: Sequence[str]):
    self._columns = fingerprints.without(columns)
    self._seen: set[str] = set()
    self._others: dict[str, None] = {}

  def add_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """Looks at some rows of Python's values."""
    if len(self._seen) == len(self._columns):
      return
    for row in rows[:_LOOKED_AT]:
      for name, value in row.items():
        nested = [f'{name}.{key}' for key in value] if isinstance(value, Mapping) else []
        self._others |= dict.fromkeys([name, *nested][:_MOST_NAMES] if len(self._others) < _MOST_NAMES else [])
    self._seen |= {column for column in self._columns if any(_has(row, column) for row in rows[:_LOOKED_AT])}

  def add_columns(self, table: pa.Table, text: bytes = b'') -> None:
    """Looks at all rows, where some are still to be seen.

    Args:
      table: The columns asked for.
      text: The JSON that they were read from: a key without values stands there all the same.
    """
    for column in self._columns:
      if column in self._seen or not table.num_rows:
        continue
      if table[column].null_count < table.num_rows or _is_key(text, column):
        self._seen.add(column)

  def take(self) -> frozenset[str]:
    """Returns the columns asked for that were seen since the last call, and if one was not, other names as well."""
    is_complete = len(self._seen) == len(self._columns)
    found = frozenset(self._seen if is_complete else [*self._seen, *self._others])
    self._seen, self._others = set(), {}
    return found


def _is_key(text: bytes, column: str) -> bool:
  """Whether one of the first lines of JSON that may have the column has it: another object may have such a key."""
  key = re.escape(json.dumps(column.rpartition('.')[2]).encode())
  places = (found.start() for found in itertools.islice(re.finditer(key + rb'\s*:', text), _LOOKED_AT))
  starts = dict.fromkeys(text.rfind(b'\n', 0, place) + 1 for place in places)
  return any(_has(_parse(text[start:].partition(b'\n')[0]), column) for start in starts)


def _parse(line: bytes) -> Mapping[str, Any]:
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
    return {}
  return row if isinstance(row, dict) else {}


def _has(row: Mapping[str, Any], column: str) -> bool:
  return column in row or take(row, column) is not None


def _show(name: str) -> str:
  shown = name if len(name) <= _MOST_CHARACTERS else f'{name[:_MOST_CHARACTERS]}…'
  return shown if shown.isprintable() else repr(shown)
