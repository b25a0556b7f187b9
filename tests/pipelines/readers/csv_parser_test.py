"""Tests of what surrounds pyarrow's reader: the end is noticed, and so is what pyarrow would not survive."""

import io
from typing import BinaryIO

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.readers import csv_parser
from pipelines.readers import streams
from tests.pipelines.readers import reading


def _make_parser(newlines_in_values: bool) -> csv_parser.Parser:
  options = {'delimiter': ',', 'quote_char': '"', 'newlines_in_values': newlines_in_values}
  return csv_parser.Parser(options, ('',), ['a', 'b'], ['a', 'b'])


class _ShortReads(io.BytesIO):
  """Gives less than it is asked for, as files far away do."""

  def read(self, size: int | None = -1, /) -> bytes:
    return super().read(min(size or 0, 3))


class ParserTest(parameterized.TestCase):

  @parameterized.parameters(io.BytesIO, _ShortReads)
  def test_a_stream_is_its_head_and_the_rest(self, make_file: type[io.BytesIO]) -> None:
    file: BinaryIO = make_file('\n3,😀\n5,"6\n"\n'.encode())
    found = reading.gather(_make_parser(newlines_in_values=True).read_stream(b'1,2', file))
    self.assertEqual((found.rows, found.positions), ([('1', '2'), ('3', '😀'), ('5', '6\n')], [0, 1, 2]))

  def test_the_last_line_is_no_row(self) -> None:
    found = reading.gather(_make_parser(newlines_in_values=True).read_stream(b'', io.BytesIO()))
    self.assertEqual((found.rows, found.refused), ([], {}))

  def test_an_open_quote_is_no_end(self) -> None:
    with self.assertRaisesRegex(csv_parser.NotCsv, 'a quote that is not closed'):
      reading.gather(_make_parser(newlines_in_values=True).read_stream(b'1,2\n3,"4\n5,6\n', io.BytesIO()))

  def test_bad_rows_of_a_stream_that_are_not_utf8_end_nothing(self) -> None:
    found = reading.gather(_make_parser(newlines_in_values=True).read_stream(b'\xff\n1,2\n\xff,3\n', io.BytesIO()))
    self.assertEqual((found.rows, found.refused), ([('1', '2')], {'wrong_number_of_fields': 1, 'not_utf8': 1}))

  def test_lines_are_rows_with_places_in_the_file(self) -> None:
    parser = _make_parser(newlines_in_values=False)
    lines = [streams.Lines(100, b'1,2\r\n"3,4\r\n\r\n5,6', 0), streams.Lines(200, b'7\n8,9\n', 2)]
    found = reading.gather(block for some in lines for block in parser.read_lines(some))
    self.assertEqual(found.rows, [('1', '2'), ('5', '6'), ('8', '9')])
    self.assertEqual(found.refused, {'open_quote': 1, 'wrong_number_of_fields': 1, 'line_too_long': 2})
    self.assertEqual(found.positions, sorted(set(found.positions)))
    self.assertEqual(found.positions[0], 100)
    self.assertBetween(found.positions[1], 101, 199)


if __name__ == '__main__':
  absltest.main()
