"""What pyarrow's reader of delimited values needs around it so that no row is lost in silence."""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import re
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow_csv

from pipelines.readers import base
from pipelines.readers import streams
from pipelines.readers import values

# A last line that must come out again: if it does not, a quote before it was never closed.
_LAST_LINE = '\0the end\0'
# Stands where a file is not UTF-8: a code point that no text has, because Unicode keeps it free.
_MARK = '\U0010fffe'
_NOT_UTF8 = re.compile('[\udc80-\udcff]+')


class NotCsv(ValueError):
  """A file that cannot be cut into rows."""


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
    self._columns = columns
    self._names = names
    self._parse_options = arrow_csv.ParseOptions(invalid_row_handler=self._skip_row, **parse_options)
    self._convert_options = arrow_csv.ConvertOptions(
        include_columns=columns,
        column_types={column: pa.string() for column in columns},
        check_utf8=False,
        null_values=null_values,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    # One item a row, because pyarrow calls from several threads: whether it was the last line.
    self._skipped: list[bool] = []
    self._refused: collections.Counter[str] = collections.Counter()
    self._has_marks = False

  def read_stream(self, head: bytes, file: BinaryIO) -> Iterator[base.Block]:
    """Reads `head` and the rest of the file.

    Raises:
      NotCsv: If a row is too long, as after a quote that is never closed.
    """
    source = pa.PythonFile(_Source(head, file, self._mark_errors), mode='r')
    row = 0
    is_ended = False
    try:
      for batch in arrow_csv.open_csv(source, **self._options(streams.BLOCK_BYTES)):
        table = pa.Table.from_batches([batch])
        is_ended = _has_last_line(table)
        yield from self._make_blocks([values.number_rows(table.slice(0, table.num_rows - is_ended), row)])
        row += table.num_rows
    except pa.ArrowInvalid:
      # Its own message holds data.
      raise NotCsv(f'a row of more than {streams.BLOCK_BYTES} bytes, as after a quote that is not closed') from None
    if not is_ended and True not in self._skipped:
      raise NotCsv('a quote that is not closed')
    self._count_skipped()
    yield from self._make_blocks([])

  def read_lines(self, lines: streams.Lines) -> Iterator[base.Block]:
    """Reads lines each of which is a row."""
    self._refused.update({streams.LINE_TOO_LONG: lines.too_long} if lines.too_long else {})
    text = self._mark_errors(streams.end_lines(lines.text))
    found: list[values.Rows] = []
    if not self._read_text(text, lines.start, found):
      self._bisect(b''.join(line + b'\n' for line in text.split(b'\n') if line), lines.start, found)
    yield from self._make_blocks(found)

  def _bisect(self, text: bytes, start: int, found: list[values.Rows]) -> None:
    """Reads lines of which one has an open quote, so that no other goes with it."""
    if self._read_text(text, start, found):
      return
    half = len(text) // 2
    cut = text.rfind(b'\n', 0, half) + 1 or text.find(b'\n', half) + 1
    if cut < len(text):
      self._bisect(text[:cut], start, found)
      self._bisect(text[cut:], start + cut, found)
    else:
      self._refused['open_quote'] += 1

  def _read_text(self, text: bytes, start: int, found: list[values.Rows]) -> bool:
    """Adds the rows of the text, unless they are not one a line because a quote is open or a line is empty."""
    ends = streams.find_line_ends(text)
    source = pa.BufferReader(text + f'{_LAST_LINE}\n'.encode())
    self._skipped = []
    try:
      table = arrow_csv.read_csv(source, **self._options(streams.chunk_size(ends)))
    except pa.ArrowInvalid:
      return False
    is_ended = _has_last_line(table)
    if table.num_rows + len(self._skipped) != len(ends) + 1 or not (is_ended or True in self._skipped):
      return False
    self._count_skipped()
    found.append(values.number_rows(table.slice(0, table.num_rows - is_ended), start))
    return True

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
    if wrong := self._skipped.count(False):
      self._refused['wrong_number_of_fields'] += wrong

  def _mark_errors(self, text: bytes) -> bytes:
    """Puts `_MARK` where the text is not UTF-8, because pyarrow gives up at a row that it cannot decode."""
    if streams.is_utf8(text):
      return text
    self._has_marks = True
    return _NOT_UTF8.sub(_MARK, text.decode('utf-8', errors='surrogateescape')).encode()

  def _make_blocks(self, found: Sequence[values.Rows]) -> Iterator[base.Block]:
    kept = [self._refuse_marked(rows) for rows in found] if self._has_marks else found
    refused, self._refused = self._refused, collections.Counter()
    return values.make_blocks(self._columns, kept, refused)

  def _refuse_marked(self, rows: values.Rows) -> values.Rows:
    is_marked = np.zeros(rows.table.num_rows, bool)
    for column in rows.table.columns:
      is_marked |= compute.match_substring(column, _MARK).fill_null(False).to_numpy()
    if is_marked.any():
      self._refused['not_utf8'] += int(is_marked.sum())
    return values.Rows(rows.table.filter(pa.array(~is_marked)), rows.positions[~is_marked])


def _has_last_line(table: pa.Table) -> bool:
  """Whether the last row is `_LAST_LINE`, which is a good row where there is one column."""
  return table.num_rows > 0 and table.column(0)[-1].as_py() == _LAST_LINE


class _Source:
  """A file with `_LAST_LINE` after its end, whose blocks `prepare` gets in whole characters."""

  def __init__(self, head: bytes, file: BinaryIO, prepare: Callable[[bytes], bytes]):
    self._held = head
    self._file = file
    self._prepare = prepare
    self._ready = b''
    self._is_over = self.closed = False

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
    else:
      self._is_over = True
      text += f'\n{_LAST_LINE}\n'.encode()
    self._ready += self._prepare(text)

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
