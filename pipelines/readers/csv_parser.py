"""What pyarrow's reader of delimited values needs around it so that no row is lost in silence."""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import re
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow_csv

from pipelines.readers import base
from pipelines.readers import csv_rows
from pipelines.readers import fingerprints
from pipelines.readers import streams
from pipelines.readers import values

# A last line that must come out again: if it does not, a quote before it was never closed.
_LAST_LINE = '\0the end\0'
# Stands where a file is not UTF-8: a code point that no text has, because Unicode keeps it free.
_MARK = '\U0010fffe'
_NOT_UTF8 = re.compile('[\udc80-\udcff]+')


class RowTooLarge(Exception):
  """A row for which pyarrow's reader of a stream has no place.

  Attributes:
    rows: How many rows came before it was met.
  """

  def __init__(self, rows: int):
    super().__init__()
    self.rows = rows


class Parser:
  """Parses text without its header.

  Args:
    parse_options: Arguments of pyarrow's ParseOptions.
    null_values: What stands for no value if it is not quoted.
    names: All columns.
    columns: Those asked for.
  """

  def __init__(
    self, parse_options: Mapping[str, Any], null_values: Sequence[str], names: Sequence[str], columns: Sequence[str]
  ):
    own = fingerprints.without(columns)
    self._columns = columns
    # A name that stands there twice is no column.
    self._rest = [name for name in names if name not in own and names.count(name) == 1] if own != list(columns) else []
    self._own = own
    self._names = names
    self._parse_options = arrow_csv.ParseOptions(invalid_row_handler=self._skip_row, **parse_options)
    self._convert_options = arrow_csv.ConvertOptions(
      include_columns=[*own, *self._rest],
      column_types={column: pa.string() for column in [*own, *self._rest]},
      check_utf8=False,
      null_values=null_values,
      strings_can_be_null=True,
      quoted_strings_can_be_null=False,
    )
    # One item a row, because pyarrow calls from several threads: whether it was the last line.
    self._skipped: list[bool] = []
    # How many of them are in the blocks so far.
    self._counted = 0
    self._refused: collections.Counter[str] = collections.Counter()
    self._notes: collections.Counter[str] = collections.Counter()
    self._has_marks = False
    quote = parse_options['quote_char']
    self._hint = f'\\{quote}'.encode() if quote and not parse_options['escape_char'] else b''

  def read_stream(self, file: Any) -> Iterator[base.Block]:
    """Reads rows that may span lines.

    Raises:
      RowTooLarge: If a row is too long, as after a quote that is never closed.
      OpenQuote: If the last quote is not closed.
    """
    source = _Source(file, self._prepare)
    row = 0
    is_ended = False
    try:
      for batch in arrow_csv.open_csv(pa.PythonFile(source, mode='r'), **self._options(streams.BLOCK_BYTES)):
        table = pa.Table.from_batches([batch])
        is_ended = _has_last_line(table)
        # Who reads the first blocks alone sees them too, and perhaps those of the next block, which is parsed already.
        self._count_skipped()
        yield from self._make_blocks([values.number_rows(table.slice(0, table.num_rows - is_ended), row)])
        row += table.num_rows
    except pa.ArrowException:
      # Its own message holds data.
      raise RowTooLarge(row) from None
    if not is_ended and True not in self._skipped:
      raise csv_rows.OpenQuote
    self._note_joined_lines(source.lines, row - is_ended)
    yield from self._make_blocks([])

  def read_rows(self, file: Any, splitter: csv_rows.Splitter, start: int) -> Iterator[base.Block]:
    """Reads what `read_stream` reads, from row `start` on, though a row may be too large for it; slower.

    Raises:
      OpenQuote: If the last quote is not closed.
    """
    self._skipped, self._notes = [], collections.Counter()
    row = 0
    source = _Source(file, self._prepare, b'')
    for text in splitter.split(source):
      table = self._parse(text, len(text))
      if table is None:
        raise csv_rows.OpenQuote
      first = min(max(start - row, 0), table.num_rows)
      yield from self._make_blocks([values.number_rows(table.slice(first), row + first)])
      row += table.num_rows
    self._refused.update({streams.ROW_TOO_LARGE: splitter.too_large} if splitter.too_large else {})
    self._note_joined_lines(source.lines, row)
    yield from self._make_blocks([])

  def read_lines(self, lines: streams.Lines) -> Iterator[base.Block]:
    """Reads lines each of which is a row."""
    self._refused.update({streams.ROW_TOO_LARGE: lines.too_long} if lines.too_long else {})
    text = self._prepare(streams.end_lines(lines.text))
    found: list[values.Rows] = []
    if not self._read_text(text, lines.start, found):
      self._bisect(streams.drop_empty_lines(text)[0], lines.start, found)
    yield from self._make_blocks(found)

  def _bisect(self, text: bytes, start: int, found: list[values.Rows]) -> None:
    """Reads lines of which one has an open quote, so that no other goes with it."""
    if self._read_text(text, start, found):
      return
    half = len(text) // 2
    cut = text.rfind(b'\n', 0, half) + 1 or text.find(b'\n', half) + 1
    if cut < len(text):
      self._bisect(text[:cut], start, found)
      # A line takes a byte of the file at least: counted so, no position comes twice, whatever the encoding.
      self._bisect(text[cut:], start + text.count(b'\n', 0, cut), found)
    else:
      self._refused['open_quote'] += 1

  def _read_text(self, text: bytes, start: int, found: list[values.Rows]) -> bool:
    """Adds the rows of the text, unless they are not one a line because a quote is open or a line is empty."""
    ends = streams.find_line_ends(text)
    self._skipped, self._counted = [], 0
    table = self._parse(text, streams.chunk_size(ends))
    if table is None or table.num_rows + len(self._skipped) - self._skipped.count(True) != len(ends):
      return False
    self._count_skipped()
    found.append(values.number_rows(table, start))
    return True

  def _parse(self, text: bytes, block_bytes: int) -> pa.Table | None:
    """Returns the rows of a text that ends where one ends, or None if that is not how pyarrow sees it."""
    last = f'{_LAST_LINE}\n'.encode()
    skipped = len(self._skipped)
    try:
      table = arrow_csv.read_csv(pa.BufferReader(text + last), **self._options(block_bytes + len(last)))
    except pa.ArrowException:
      return None
    is_ended = _has_last_line(table)
    return table.slice(0, table.num_rows - is_ended) if is_ended or True in self._skipped[skipped:] else None

  def _options(self, block_bytes: int) -> dict[str, Any]:
    return {
      'read_options': arrow_csv.ReadOptions(block_size=block_bytes, column_names=self._names),
      'parse_options': self._parse_options,
      'convert_options': self._convert_options,
    }

  def _skip_row(self, row: arrow_csv.InvalidRow) -> str:
    self._skipped.append(row.text == _LAST_LINE)
    return 'skip'

  def _count_skipped(self) -> None:
    wrong = self._skipped.count(False) - self._counted
    if wrong > 0:
      self._refused['wrong_number_of_fields'] += wrong
      self._counted += wrong

  def _note_joined_lines(self, lines: int, rows: int) -> None:
    """Counts the lines that quotes made part of the row before them: those of other clients, if a quote was stray."""
    joined = lines - rows - self._skipped.count(False) - self._refused[streams.ROW_TOO_LARGE]
    self._count_skipped()
    if joined > 0:
      self._notes[base.LINES_JOINED] += joined

  def _prepare(self, text: bytes) -> bytes:
    if self._hint and (seen := text.count(self._hint)):
      self._notes[base.BACKSLASHES] += seen
    return self._mark_errors(text)

  def _mark_errors(self, text: bytes) -> bytes:
    """Puts `_MARK` where the text is not UTF-8, because pyarrow gives up at a row that it cannot decode."""
    if streams.is_utf8(text):
      return text
    self._has_marks = True
    return _NOT_UTF8.sub(_MARK, text.decode('utf-8', errors='surrogateescape')).encode()

  def _make_blocks(self, found: Sequence[values.Rows]) -> Iterator[base.Block]:
    kept = [self._refuse_marked(rows) for rows in found] if self._has_marks else found
    if self._own != list(self._columns):
      kept = [self._take_fingerprints(rows) for rows in kept]
    refused, self._refused = self._refused, collections.Counter()
    notes, self._notes = self._notes, collections.Counter()
    yield from values.make_blocks(self._columns, kept, {reason: count for reason, count in refused.items() if count})
    if notes:
      empty = pa.table({column: pa.nulls(0) for column in self._columns})
      yield base.Block(empty, np.zeros(0, np.int64), {}, notes=notes)

  def _take_fingerprints(self, rows: values.Rows) -> values.Rows:
    """Returns the rows with a fingerprint instead of the columns that were not asked for."""
    rest = fingerprints.of_columns({name: rows.table[name] for name in self._rest}, rows.table.num_rows)
    table = rows.table.select(self._own).append_column(fingerprints.REST, rest)
    return values.Rows(table.select(self._columns), rows.positions)

  def _refuse_marked(self, rows: values.Rows) -> values.Rows:
    is_marked = np.zeros(rows.table.num_rows, bool)
    for column in rows.table.select(self._own).columns:
      is_marked |= compute.match_substring(column, _MARK).fill_null(False).to_numpy()
    if is_marked.any():
      self._refused['not_utf8'] += int(is_marked.sum())
    return values.Rows(rows.table.filter(pa.array(~is_marked)), rows.positions[~is_marked])


def _has_last_line(table: pa.Table) -> bool:
  """Whether the last row is `_LAST_LINE`, which is a good row where there is one column."""
  return table.num_rows > 0 and table.column(0)[-1].as_py() == _LAST_LINE


def count_lines(text: bytes, before: int = ord('\n')) -> int:
  """Returns how many lines that are not blank begin in a text, whose first byte comes after the byte `before`."""
  characters = np.frombuffer(text, np.uint8)
  is_end = (characters == ord('\n')) | (characters == ord('\r'))
  begins = np.count_nonzero(~is_end[1:] & is_end[:-1])
  return int(begins) + int(len(text) > 0 and not is_end[0] and before in b'\r\n')


class _Source:
  """A file with `last` after its end, whose blocks `prepare` gets in whole characters.

  Attributes:
    lines: How many lines there were, but for blank ones and `last`.
  """

  def __init__(self, file: Any, prepare: Callable[[bytes], bytes], last: bytes = f'\n{_LAST_LINE}\n'.encode()):
    self._file = file
    self._prepare = prepare
    self._last = last
    self._held = self._ready = b''
    self._is_over = self.closed = False
    self._before = ord('\n')
    self.lines = 0

  def read(self, size: int) -> bytes:
    # Never less than asked for: pyarrow wants the end of a row in each block.
    while len(self._ready) < size and not self._is_over:
      self._fill(size - len(self._ready))
    block, self._ready = self._ready[:size], self._ready[size:]
    return block

  def _fill(self, size: int) -> None:
    block = self._file.read(size)
    text = self._held + block
    if block:
      cut = _find_last_character(text)
      self._held, text = text[cut:], text[:cut]
    self.lines += count_lines(text, self._before)
    self._before = text[-1] if text else self._before
    self._is_over = not block
    self._ready += self._prepare(text) + (b'' if block else self._last)

  def close(self) -> None:
    self.closed = True


def _find_last_character(text: bytes) -> int:
  """Returns where the last character begins if the end may cut it, else where the text ends."""
  for place in range(len(text) - 1, max(len(text) - 5, -1), -1):
    if text[place] >= 0xC0:
      return place
    if text[place] < 0x80:
      break
  return len(text)
