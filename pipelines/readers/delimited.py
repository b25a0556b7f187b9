"""Comma-separated values and their relatives, read by pyarrow: every value a string, for the columns' kinds to read."""

from collections.abc import Iterator, Sequence
import csv
import dataclasses
import itertools
import re
from typing import Any

from pipelines.readers import base
from pipelines.readers import csv_parser
from pipelines.readers import lookup
from pipelines.readers import streams

_HEADER_BYTES = 1 << 20
# What a name of a column hardly is: a number, a date, a sentence.
_VALUE = re.compile(r'\s*[+-]?\.?\d|.{61}')
_LINE = re.compile(rb'[^\r\n]*(?:\r\n|\r|\n|$)')


@dataclasses.dataclass(frozen=True)
class Csv(base.Reader):
  """Reads files of delimited values, plain or packed.

  Rows are refused as `wrong_number_of_fields`, `not_utf8` (in the columns asked for) and, where a line is a row,
  `open_quote` or `line_too_long`.

  Attributes:
    delimiter: Between two values.
    quote: What values may stand in, twice for itself; '' if it means nothing.
    column_names: For files without a header.
    skip_lines: How many lines there are before the header, or before the first row.
    null_values: What stands for no value if it is not quoted.
    newlines_in_values: Whether a quoted value may span lines. If not, a line is a row and a large file is read in
      parts.
  """

  delimiter: str = ','
  quote: str = '"'
  column_names: tuple[str, ...] = ()
  skip_lines: int = 0
  null_values: tuple[str, ...] = ('',)
  newlines_in_values: bool = True

  def __post_init__(self) -> None:
    if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '\r\n':
      raise ValueError(f'Expected a delimiter of one ASCII character, found {self.delimiter!r}: give one such as ",".')
    if len(self.quote) > 1 or not self.quote.isascii() or self.quote in ('\r', '\n', self.delimiter):
      raise ValueError(f'Expected a quote of one ASCII character or none, found {self.quote!r}: give one such as "\'".')
    if self.skip_lines < 0:
      raise ValueError(f'Expected skip_lines >= 0, found {self.skip_lines}: say how many lines come before the header.')

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    if self.newlines_in_values:
      yield base.Part(path, file)
    else:
      yield from streams.line_parts(path, file)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    with streams.expect_whole(part.path, (csv.Error, csv_parser.NotCsv)), streams.open_unpacked(part.path) as file:
      head = file.read(_HEADER_BYTES)
      names, first_row = self._read_header(head)
      if names is None:
        return
      _check_columns(part.path, columns, names)
      parser = csv_parser.Parser(self._parse_options(), self.null_values, names, columns)
      if self.newlines_in_values:
        yield from parser.read_stream(head[first_row:], file)
        return
    for lines in streams.read_lines(part):
      yield from parser.read_lines(lines._replace(text=lines.text[max(first_row - lines.start, 0):]))

  def _parse_options(self) -> dict[str, Any]:
    return {
        'delimiter': self.delimiter,
        'quote_char': self.quote or False,
        'newlines_in_values': self.newlines_in_values,
    }

  def _read_header(self, head: bytes) -> tuple[Sequence[str] | None, int]:
    """Returns the names of the columns, None if there are none, and where the first row begins."""
    ends = [match.end() for match in _LINE.finditer(head)]
    if self.column_names:
      return self.column_names, ends[min(self.skip_lines, len(ends)) - 1] if self.skip_lines else 0
    quoting: dict[str, Any] = {'quotechar': self.quote} if self.quote else {'quoting': csv.QUOTE_NONE}
    starts = [0, *ends][self.skip_lines:]
    texts = (head[start:end] for start, end in itertools.pairwise(starts))
    lines = (text.decode('utf-8-sig', errors='replace') for text in texts)
    reader = csv.reader(lines, delimiter=self.delimiter, **quoting)
    names = next(filter(None, reader), None)
    return names, starts[reader.line_num]


@dataclasses.dataclass(frozen=True)
class Tsv(Csv):
  """Csv with tabs."""

  delimiter: str = '\t'


def _check_columns(path: str, columns: Sequence[str], found: Sequence[str]) -> None:
  """Like `lookup.check`, but silent about what is found if it is no header: it would be somebody's data."""
  missing = next((column for column in columns if column not in found), None)
  is_header = any(column in found for column in columns) or not any(map(_VALUE.match, found))
  if missing is not None and not is_header:
    raise base.DamagedFile(
        f'Expected a column {missing!r} in the first line of {path}, found {len(found)} values instead of names: give '
        'column_names for a file without a header, or skip_lines.'
    )
  lookup.check(path, columns, found)
