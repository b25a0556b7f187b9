"""Comma-separated values and their relatives, read by pyarrow: every value a string, for the columns' kinds to read."""

from collections.abc import Iterator, Sequence
import contextlib
import csv
import dataclasses
import itertools
import json
import re
from typing import Any

from pipelines.readers import base
from pipelines.readers import csv_parser
from pipelines.readers import csv_rows
from pipelines.readers import encodings
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import streams

_HEADER_BYTES = 1 << 20
_DECIMALS = ('.', ',')
_LINE_ENDS = ('\r', '\n')
_DELIMITERS = ',;\t|'
_LINE = re.compile(rb'[^\r\n]*(?:\r\n|\r|\n|$)')


@dataclasses.dataclass(frozen=True)
class Csv(base.Reader):
  """Reads files of delimited values, plain or packed.

  Rows are refused as `wrong_number_of_fields`, `not_utf8` (in the columns asked for), `row_too_large` and, where a line
  is a row, `open_quote`. Lines that quotes made part of the row before them are noted.

  Attributes:
    delimiter: Between two values.
    quote: What values may stand in, twice for itself; '' if it means nothing.
    escape: What takes the meaning from the character after it, as a backslash does; '' if there is none.
    column_names: For files without a header.
    skip_lines: How many lines there are before the header, or before the first row.
    null_values: What stands for no value if it is not quoted.
    newlines_in_values: Whether a quoted value may span lines. If not, a line is a row and a large file is read in
      parts.
    encoding: Of the text, unless the file begins with a mark of another one. What it does not have is `not_utf8`.
    decimal: What stands before the decimals of numbers: a point or a comma. Columns of text stay as they are.
  """

  delimiter: str = ','
  quote: str = '"'
  escape: str = ''
  column_names: tuple[str, ...] = ()
  skip_lines: int = 0
  null_values: tuple[str, ...] = ('',)
  newlines_in_values: bool = True
  encoding: str = encodings.UTF8
  decimal: str = '.'

  def __post_init__(self) -> None:
    encodings.check(self.encoding)
    if self.decimal not in _DECIMALS:
      raise ValueError(f'Expected decimal to be "." or ",", found {self.decimal!r}: write decimal = ",".')
    if len(self.escape) > 1 or not self.escape.isascii() or self.escape in _LINE_ENDS or self.escape in self._signs:
      raise ValueError(
        f'Expected an escape of one ASCII character or none, found {self.escape!r}: write escape = "\\\\".'
      )
    if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '\r\n':
      raise ValueError(f'Expected a delimiter of one ASCII character, found {self.delimiter!r}: give one such as ",".')
    if len(self.quote) > 1 or not self.quote.isascii() or self.quote in ('\r', '\n', self.delimiter):
      raise ValueError(f'Expected a quote of one ASCII character or none, found {self.quote!r}: give one such as "\'".')
    if self.skip_lines < 0:
      raise ValueError(f'Expected skip_lines >= 0, found {self.skip_lines}: say how many lines come before the header.')

  @property
  def _signs(self) -> tuple[str, ...]:
    return tuple(filter(None, (self.delimiter, self.quote)))

  @property
  def _spans_lines(self) -> bool:
    return self.newlines_in_values and bool(self.quote)

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    if self._spans_lines:
      yield base.Part(path, file)
    else:
      yield from streams.line_parts(path, file, self.encoding)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    with streams.expect_whole(part.path, (csv.Error,)):
      with self._open(part) as text:
        names, first_row = self._read_header(text.file.read(_HEADER_BYTES), text.encoding)
      if names is None:
        return
      _check_columns(part.path, fingerprints.without(columns), names)
      parser = csv_parser.Parser(self._parse_options(), self.null_values, names, columns)
      yield from (self._read_rows if self._spans_lines else self._read_lines)(parser, part, first_row)

  def _read_lines(self, parser: csv_parser.Parser, part: base.Part, first_row: int) -> Iterator[base.Block]:
    with self._open(part) as text:
      for lines in streams.read_lines(text, part):
        rows = lines.text[max(first_row - lines.start, 0) :]
        yield from parser.read_lines(lines._replace(text=encodings.to_utf8(rows, text.encoding)))

  def _read_rows(self, parser: csv_parser.Parser, part: base.Part, first_row: int) -> Iterator[base.Block]:
    try:
      with self._open_rows(part, first_row) as file:
        yield from parser.read_stream(file)
    except csv_parser.RowTooLarge as error:
      rows = error.rows
    except csv_rows.OpenQuote:
      raise _open_quote(part.path) from None
    else:
      return
    try:
      with self._open_rows(part, first_row) as file:
        yield from parser.read_rows(file, csv_rows.Splitter(self.delimiter, self.quote, self.escape), rows)
    except csv_rows.OpenQuote:
      raise _open_quote(part.path) from None

  def _open(self, part: base.Part) -> contextlib.AbstractContextManager[streams.Text]:
    return streams.open_text(part.path, self.encoding, 'delimited values')

  @contextlib.contextmanager
  def _open_rows(self, part: base.Part, first_row: int) -> Iterator[Any]:
    """Opens the file at its first row, as UTF-8."""
    with self._open(part) as text:
      text.file.read(first_row)
      is_utf8 = text.encoding == encodings.UTF8
      yield text.file if is_utf8 else encodings.Utf8Stream(text.file, text.encoding)

  def _parse_options(self) -> dict[str, Any]:
    return {
      'delimiter': self.delimiter,
      'quote_char': self.quote or False,
      'escape_char': self.escape or False,
      'newlines_in_values': self._spans_lines,
    }

  def _read_header(self, head: bytes, encoding: str) -> tuple[Sequence[str] | None, int]:
    """Returns the names of the columns, None if there are none, and where the first row begins."""
    ends = [match.end() for match in _LINE.finditer(head)]
    if self.column_names:
      return self.column_names, ends[min(self.skip_lines, len(ends)) - 1] if self.skip_lines else 0
    quoting: dict[str, Any] = {'quotechar': self.quote} if self.quote else {'quoting': csv.QUOTE_NONE}
    starts = [0, *ends][self.skip_lines :]
    texts = (head[start:end] for start, end in itertools.pairwise(starts))
    lines = (text.decode('utf-8-sig' if encoding == encodings.UTF8 else encoding, errors='replace') for text in texts)
    reader = csv.reader(lines, delimiter=self.delimiter, escapechar=self.escape or None, **quoting)
    names = next(filter(None, reader), None)
    return names, starts[reader.line_num] if names is not None else len(head)


@dataclasses.dataclass(frozen=True)
class Tsv(Csv):
  """Csv with tabs, and without quotes unless they are declared: mostly a quote in such a file is text."""

  delimiter: str = '\t'
  quote: str = ''


def _open_quote(path: str) -> base.DamagedFile:
  return base.DamagedFile(
    f'Expected every quote in {path} to be closed, found one that is not: get a whole copy of it if its end is '
    'missing, write quote = "" in [input] if quotes mean nothing there, or newlines_in_values = false to refuse only '
    'such a row.'
  )


def _check_columns(path: str, columns: Sequence[str], found: Sequence[str]) -> None:
  """Like `lookup.check`, but silent about what is found if none was asked for: it may be a client's data."""
  missing = next((column for column in columns if column not in found), None)
  other = next((sign for sign in _DELIMITERS if len(found) == 1 and missing in found[0].split(sign)), None)
  if other:
    raise base.MissingColumn(
      f'Expected a column {missing!r} in {path}, found it in a line with {other!r} between the names: write '
      f'delimiter = {json.dumps(other)} in [input].',
      found,
    )
  if missing is not None and not any(column in found for column in columns):
    raise base.MissingColumn(
      f'Expected a column {missing!r} in the first line of {path}, found {len(found)} others, which are not shown as '
      'they may be values: name a column as that line does, or give column_names for a file without a header, or '
      'skip_lines.',
      found,
    )
  lookup.check(path, columns, found)
