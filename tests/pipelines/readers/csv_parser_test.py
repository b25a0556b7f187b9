"""Tests of what surrounds pyarrow's reader: the end is noticed, and so is what pyarrow would not survive."""

import io
from typing import BinaryIO
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.readers import csv_parser
from pipelines.readers import csv_rows
from pipelines.readers import streams
from tests.pipelines.readers import reading


def _make_parser(newlines_in_values: bool) -> csv_parser.Parser:
  options = {'delimiter': ',', 'quote_char': '"', 'escape_char': False, 'newlines_in_values': newlines_in_values}
  return csv_parser.Parser(options, ('',), ['a', 'b'], ['a', 'b'])


class _ShortReads(io.BytesIO):
  """Gives less than it is asked for, as files far away do."""

  def read(self, size: int | None = -1, /) -> bytes:
    return super().read(min(size or 0, 3))


class ParserTest(parameterized.TestCase):
  @parameterized.parameters(io.BytesIO, _ShortReads)
  def test_a_stream_is_read_to_its_end(self, make_file: type[io.BytesIO]) -> None:
    file: BinaryIO = make_file('1,2\n3,😀\n5,"6\n"\n'.encode())
    found = reading.gather(_make_parser(newlines_in_values=True).read_stream(file))
    self.assertEqual((found.rows, found.positions), ([('1', '2'), ('3', '😀'), ('5', '6\n')], [0, 1, 2]))

  def test_the_last_line_is_no_row(self) -> None:
    found = reading.gather(_make_parser(newlines_in_values=True).read_stream(io.BytesIO()))
    self.assertEqual((found.rows, found.refused), ([], {}))

  def test_an_open_quote_is_no_end(self) -> None:
    with self.assertRaises(csv_rows.OpenQuote):
      reading.gather(_make_parser(newlines_in_values=True).read_stream(io.BytesIO(b'1,2\n3,"4\n5,6\n')))

  def test_bad_rows_of_a_stream_that_are_not_utf8_end_nothing(self) -> None:
    found = reading.gather(_make_parser(newlines_in_values=True).read_stream(io.BytesIO(b'\xff\n1,2\n\xff,3\n')))
    self.assertEqual((found.rows, found.refused), ([('1', '2')], {'wrong_number_of_fields': 1, 'not_utf8': 1}))

  def test_lines_are_rows_with_places_in_the_file(self) -> None:
    parser = _make_parser(newlines_in_values=False)
    lines = [streams.Lines(100, b'1,2\r\n"3,4\r\n\r\n5,6', 0), streams.Lines(200, b'7\n8,9\n', 2)]
    found = reading.gather(block for some in lines for block in parser.read_lines(some))
    self.assertEqual(found.rows, [('1', '2'), ('5', '6'), ('8', '9')])
    self.assertEqual(found.refused, {'open_quote': 1, 'wrong_number_of_fields': 1, 'row_too_large': 2})
    self.assertEqual(found.positions, sorted(set(found.positions)))
    self.assertEqual(found.positions[0], 100)
    self.assertBetween(found.positions[1], 101, 199)

  @parameterized.parameters(
    ('', 0), ('\n\n', 0), ('a', 1), ('a\n', 1), ('a\r\n\r\nb\rc\n\nd', 4), ('\na\n', 1), ('"\n\n"\n', 2)
  )
  def test_lines_are_counted_that_are_not_blank(self, text: str, number: int) -> None:
    content = text.encode()
    self.assertEqual(csv_parser.count_lines(content), number)
    for cut in range(1, len(content)):
      first, rest = content[:cut], content[cut:]
      self.assertEqual(csv_parser.count_lines(first) + csv_parser.count_lines(rest, first[-1]), number)

  def test_a_row_that_is_too_large_ends_the_stream_after_those_before_it(self) -> None:
    content = b'1,2\n' * 30 + b'"' + b'x\n' * 50 + b'",3\n'
    with mock.patch.object(streams, 'BLOCK_BYTES', 40), self.assertRaises(csv_parser.RowTooLarge) as caught:
      list(_make_parser(newlines_in_values=True).read_stream(io.BytesIO(content)))
    self.assertBetween(caught.exception.rows, 1, 30)


if __name__ == '__main__':
  absltest.main()
