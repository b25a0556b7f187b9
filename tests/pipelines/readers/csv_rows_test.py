"""Tests of where rows end: the splitter sees the rows that pyarrow sees, in blocks of any size."""

import contextlib
import io
import random
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa
from pyarrow import csv as arrow_csv

from pipelines.readers import csv_rows
from pipelines.readers import streams


def _split(text: str, block: int = 1 << 20, escape: str = '') -> tuple[list[str], int]:
  splitter = csv_rows.Splitter(',', '"', escape)
  with mock.patch.object(streams, 'BLOCK_BYTES', block):
    pieces = [piece.decode() for piece in splitter.split(io.BytesIO(text.encode()))]
  return pieces, splitter.too_large


def _read(text: str, escape: str) -> list[str] | None:
  """Returns what pyarrow reads of one column, or None if a quote is open."""
  source = pa.BufferReader(f'{text}\nthe end\n'.encode())
  options = arrow_csv.ParseOptions(
    newlines_in_values=True, escape_char=escape or False, invalid_row_handler=lambda _: 'skip'
  )
  read_options = arrow_csv.ReadOptions(column_names=['a'], block_size=1 << 16)
  rows = arrow_csv.read_csv(source, read_options, options)['a'].to_pylist()
  return rows[:-1] if rows and rows[-1] == 'the end' else None


class SplitterTest(parameterized.TestCase):
  @parameterized.product(escape=['', '\\'], seed=[0, 1, 2, 3])
  def test_rows_are_those_of_pyarrow(self, escape: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(150):
      signs = chance.choices(['a', 'b', '"', '"', '""', '\n', '\r\n', *([escape] if escape else [])], k=20)
      text = ''.join(['x', *signs, 'y'])
      expected = _read(text, escape)
      if expected is None:
        with self.assertRaises(csv_rows.OpenQuote):
          _split(text, escape=escape)
        continue
      for block in (100, 7):
        pieces, too_large = _split(text, 1 << 20 if block == 100 else block, escape)
        if not too_large:
          self.assertEqual(''.join(pieces).rstrip('\r\n'), text.rstrip('\r\n'))
        for piece in pieces:
          self.assertIsNotNone(_read(piece, escape), (text, piece))

  @parameterized.parameters(
    'x' * 50, '"' + 'x' * 50 + '"', '"x\n' + 'x""' * 20 + '\n"', 'x,' * 30, '"x",' * 20 + '"\n"', '""' * 30
  )
  def test_a_row_that_is_too_large_goes_alone(self, large: str) -> None:
    for block in (9, 10, 11, 12, 13, 20):
      for end in ('\n', '\r\n', '\r'):
        pieces, too_large = _split(f'a,b{end}{large}{end}c,"d"{end}', block)
        self.assertEqual([line for line in ''.join(pieces).splitlines() if line], ['a,b', 'c,"d"'])
        self.assertEqual(too_large, 1)

  def test_the_last_row_may_be_too_large(self) -> None:
    for end in ('', '\n'):
      self.assertEqual(_split(f'a\n{"x" * 50}{end}', 10)[1], 1)

  @parameterized.parameters(10, 1 << 20)
  def test_a_quote_that_is_not_closed(self, block: int) -> None:
    with self.assertRaises(csv_rows.OpenQuote):
      _split('a,b\nc,"' + 'd\n' * 50, block)

  def test_time_grows_with_the_text_alone(self) -> None:
    # Were anything tried twice, this would not end.
    for text in ('"' * 1_000_001, '"a' * 500_000, ',' * 1_000_000, '"\\' * 500_000):
      for escape in ('', '\\'):
        with contextlib.suppress(csv_rows.OpenQuote):
          _split(text, escape=escape)


if __name__ == '__main__':
  absltest.main()
