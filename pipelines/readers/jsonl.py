"""JSON lines: one object a line, read by pyarrow where it can and line by line where it cannot."""

import collections
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import json
import re
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import json as arrow_json

from pipelines.readers import base
from pipelines.readers import encodings
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values
from pipelines.rows import casts

# Not worth another try of pyarrow.
_SMALL_BYTES = 1 << 16
_SAMPLED_LINES = 64
_INT64_DIGITS = 19
_LONG_INTEGER = re.compile(rb'[\s:,\[]-?\d{16,}[\s,}\]]')
_ARROW_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


@dataclasses.dataclass(frozen=True)
class JsonLines(base.Reader):
  r"""Reads files of one JSON object a line, plain or packed. A line ends with `\n`, `\r\n` or `\r`.

  A missing key is null. Rows are refused as `not_utf8`, `not_json`, `not_an_object` or `row_too_large`. NaN and
  Infinity are numbers, as Python writes them; whole numbers beyond 64 bits come as their digits. Smaller ones may come
  as doubles where others in the column have decimals, but only if a double holds them exactly. A column `a.b` is the
  key `a.b`, or where that has no value the key `b` of the object `a`.

  Attributes:
    encoding: Of the text, unless the file begins with a mark of another one. What it does not have is `not_utf8`.
  """

  lists_columns: ClassVar[bool] = False
  encoding: str = encodings.UTF8

  def __post_init__(self) -> None:
    encodings.check(self.encoding)

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    return streams.line_parts(path, file, self.encoding)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    parser = _Parser(columns)
    with streams.expect_whole(part.path), streams.open_text(part.path, self.encoding, 'JSON lines') as text:
      for lines in streams.read_lines(text, part):
        yield from parser.parse(lines._replace(text=encodings.to_utf8(lines.text, text.encoding)))


class _Parser:
  """Parses the blocks of a part, and learns from one what types to expect in the next."""

  def __init__(self, columns: Sequence[str]):
    self._columns = fingerprints.without(columns)
    self._asked = columns
    self._types: dict[str, type] = {}
    self._found: list[values.Rows] = []
    self._refused: collections.Counter[str] = collections.Counter()
    self._names = lookup.SeenNames(columns)
    self._is_rest_wanted = len(self._columns) < len(self._asked)
    self._has_rest = False

  def parse(self, lines: streams.Lines) -> Iterator[base.Block]:
    self._found, self._refused = [], collections.Counter()
    if lines.too_long:
      self._refused[streams.ROW_TOO_LARGE] = lines.too_long
    text, ends = streams.drop_empty_lines(streams.end_lines(lines.text))
    if not self._read_fast(text, ends, lines.start):
      stripped = [line.strip() for line in text.split(b'\n')]
      self._read(streams.end_lines(b'\n'.join(filter(None, stripped))), lines.start)
    for rows in self._found:
      self._names.add_columns(rows.table, text)
    names = self._names.take()
    for block in values.make_blocks(self._asked, self._found, self._refused):
      yield block._replace(names=names)

  def _read(self, text: bytes, start: int) -> None:
    """Reads lines of which some are not for pyarrow, so that the others are: by halves."""
    if self._read_fast(text, streams.find_line_ends(text), start):
      return
    half = len(text) // 2
    cut = text.rfind(b'\n', 0, half) + 1 or text.find(b'\n', half) + 1
    if len(text) > _SMALL_BYTES and cut < len(text):
      self._read(text[:cut], start)
      # A line takes a byte of the file at least: counted so, no position comes twice, whatever the encoding.
      self._read(text[cut:], start + text.count(b'\n', 0, cut))
    else:
      lines = text.splitlines()
      self._read_rows(lines, np.arange(start, start + len(lines)))

  def _read_fast(self, text: bytes, ends: np.ndarray, start: int) -> bool:
    """Adds the rows of the lines, unless they cannot be had this way or would not be one good row a line."""
    schema = self._guess_schema(text, ends) if _are_objects(text, ends) and streams.is_utf8(text) else None
    if schema is None:
      return not text
    table = self._parse_text(text, ends, schema)
    if table is None and schema != _with_doubles(schema):
      # JavaScript writes 9.0 as 9: the lines that were sampled may have had whole numbers alone.
      table = self._parse_text(text, ends, _with_doubles(schema))
    flat = table and _flatten(table, self._columns)
    if flat is None or _is_rounded(flat, text):
      return False
    if self._is_rest_wanted:
      flat = flat.append_column(fingerprints.REST, self._fingerprints(text, ends, table)).select(self._asked)
    self._found.append(values.number_rows(flat, start))
    return True

  def _parse_text(self, text: bytes, ends: np.ndarray, schema: pa.Schema) -> pa.Table | None:
    """Returns a row for each line, or None; with all that is in the lines if that is wanted and there is more."""
    table = None
    if self._is_rest_wanted and not self._has_rest:
      table = _parse_text(text, ends, schema, 'error')
    if self._is_rest_wanted and table is None:
      table = _parse_text(text, ends, schema, 'infer')
    if table is None:
      table = _parse_text(text, ends, schema)
      # There are other keys, perhaps not in the sampled lines, and pyarrow finds no one type for the values of each.
      self._has_rest |= self._is_rest_wanted and table is not None
    return table

  def _fingerprints(self, text: bytes, ends: np.ndarray, table: pa.Table) -> pa.Array:
    """Returns the fingerprint of each line: of its text, if anything is in it that was not asked for."""
    rest = [column for _, column in fingerprints.rest_of(table, self._columns)]
    starts = np.append(0, ends[:-1] + 1)
    lines = (text[start:end].strip() for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
    if not rest and not self._has_rest:
      return fingerprints.none(len(ends))
    if rest:
      has_rest = np.logical_or.reduce([column.is_valid().to_numpy(zero_copy_only=False) for column in rest]).tolist()
      return fingerprints.of_texts(line if found else None for line, found in zip(lines, has_rest, strict=True))
    # Not all values of a key are of one type, or there are none: Python looks at each line.
    return fingerprints.of_texts(self._rest_of_line(line) for line in lines)

  def _rest_of_line(self, line: bytes) -> bytes | None:
    """Returns the text of a line if anything is in it that was not asked for."""
    row = _parse_line(line)
    return line if isinstance(row, dict) and fingerprints.has_rest(row, self._columns) else None

  def _guess_schema(self, text: bytes, ends: np.ndarray) -> pa.Schema | None:
    """Returns types that fit some of the lines, or None if none would. Left alone, pyarrow takes dates for times."""
    sampled = np.unique(np.linspace(0, len(ends) - 1, _SAMPLED_LINES, dtype=np.int64))
    lines = [text[ends[line - 1] + 1 if line else 0 : ends[line]] for line in sampled]
    rows = [row for row in map(_parse_line, lines) if isinstance(row, dict)]
    self._names.add_rows(rows)
    self._has_rest |= self._is_rest_wanted and any(fingerprints.has_rest(row, self._columns) for row in rows)
    types = {column: self._guess_type(column, [lookup.take(row, column) for row in rows]) for column in self._columns}
    return None if None in types.values() else _make_schema(types, rows)

  def _guess_type(self, column: str, found: Sequence[Any]) -> pa.DataType | None:
    kinds = {type(value) for value in found if value is not None} or {self._types.get(column, str)}
    types = [_ARROW_TYPES.get(kind) for kind in (kinds if kinds != {int, float} else {float})]
    return types[0] if len(types) == 1 else None

  def _read_rows(self, lines: Sequence[bytes], positions: np.ndarray) -> None:
    parsed = [_parse_line(line) for line in lines]
    self._refused.update(row for row in parsed if isinstance(row, str))
    objects = [row for row in parsed if isinstance(row, dict)]
    self._names.add_rows(objects)
    rows = [[lookup.take(row, column) for column in self._columns] for row in objects]
    if rows:
      is_good = np.array([isinstance(row, dict) for row in parsed])
      for found in values.make_rows(self._columns, rows, positions[is_good]):
        self._found.append(self._add_fingerprints(found, lines, positions) if self._is_rest_wanted else found)
    for place, column in enumerate(self._columns):
      kinds = (type(row[place]) for row in reversed(rows) if row[place] is not None)
      self._types[column] = next(kinds, self._types.get(column, str))

  def _add_fingerprints(self, rows: values.Rows, lines: Sequence[bytes], positions: np.ndarray) -> values.Rows:
    of_rows = (lines[place].strip() for place in np.searchsorted(positions, rows.positions).tolist())
    rest = fingerprints.of_texts(map(self._rest_of_line, of_rows))
    return values.Rows(rows.table.append_column(fingerprints.REST, rest).select(self._asked), rows.positions)


def _parse_text(text: bytes, ends: np.ndarray, schema: pa.Schema, unexpected: str = 'ignore') -> pa.Table | None:
  """Returns a row for each line, or None if pyarrow does not see them that way."""
  parse_options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=unexpected)
  read_options = arrow_json.ReadOptions(block_size=streams.chunk_size(ends))
  try:
    table = arrow_json.read_json(pa.BufferReader(text), read_options, parse_options)
  except pa.ArrowException:
    return None
  return table if table.num_rows == len(ends) else None


def _make_schema(types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]]) -> pa.Schema | None:
  """Returns columns of those types, and objects where they may be nested; None if one name has to be both."""
  nested: dict[str, Any] = {}
  for column, arrow_type in types.items():
    *heads, last = column.split('.')
    below = nested
    for head in heads:
      below = below.setdefault(head, {})
      if not isinstance(below, dict):
        return None
    if heads and below.setdefault(last, arrow_type) != arrow_type:
      return None
  if any(not isinstance(row.get(head), dict | None) for head in nested for row in rows) or types.keys() & nested.keys():
    return None
  return pa.schema([*types.items(), *((head, _make_struct(below)) for head, below in nested.items())])


def _make_struct(fields: Mapping[str, Any]) -> pa.StructType:
  kinds = ((name, kind if isinstance(kind, pa.DataType) else _make_struct(kind)) for name, kind in fields.items())
  return pa.struct(list(kinds))


def _flatten(table: pa.Table, columns: Sequence[str]) -> pa.Table:
  """Returns the columns with the values of nested keys where they have none of their own."""
  arrays = [
    compute.coalesce(table[column], lookup.take_column(table, column.split('.'))) if '.' in column else table[column]
    for column in columns
  ]
  return pa.Table.from_arrays(arrays, list(columns))


def _with_doubles(schema: pa.Schema) -> pa.Schema:
  return pa.schema([(field.name, _widen(field.type)) for field in schema])


def _widen(kind: pa.DataType) -> pa.DataType:
  if pa.types.is_struct(kind):
    return pa.struct([(field.name, _widen(field.type)) for field in kind])
  return pa.float64() if kind == pa.int64() else kind


def _are_objects(text: bytes, ends: np.ndarray) -> bool:
  """Whether there are lines, and each of them looks like one object.

  pyarrow would take several objects on a line, or one on several lines.
  """
  characters, starts = np.frombuffer(text, np.uint8), np.append(0, ends[:-1] + 1)
  return len(ends) > 0 and bool(np.all(characters[starts] == ord('{')) and np.all(characters[ends - 1] == ord('}')))


def _is_rounded(table: pa.Table, text: bytes) -> bool:
  """Whether a whole number may have become another one, because a double cannot hold it."""
  numbers = [column for column in table.columns if pa.types.is_float64(column.type)]
  largest = [compute.max(compute.abs(column)).as_py() or 0 for column in numbers]
  return max(largest, default=0) >= casts.MAX_EXACT and _LONG_INTEGER.search(text) is not None


def _parse_line(line: bytes) -> dict[str, Any] | str:
  """Returns the object of a line, or why there is none."""
  try:
    row = _DECODER.decode(line.decode('utf-8'))
  except UnicodeDecodeError:
    return 'not_utf8'
  except (ValueError, RecursionError):
    return 'not_json'
  return row if isinstance(row, dict) else 'not_an_object'


def _parse_integer(digits: str) -> int | str:
  number = int(digits) if len(digits) <= _INT64_DIGITS + 1 else None
  return digits if number is None or not -(1 << 63) <= number < 1 << 63 else number


_DECODER = json.JSONDecoder(parse_int=_parse_integer)
