"""Tests of delimited values: what is in a file, where it is cut, and which of its rows are bad."""

from collections.abc import Callable
import csv
import gzip
import io
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np

from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import streams
from tests.pipelines.readers import reading

_VALUES = strategies.text(strategies.sampled_from('ab,"\'\t é\n'), min_size=1, max_size=4)
_ENDS = strategies.sampled_from(['\n', '\r\n', '\r'])


class CsvTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'log.csv')

  def _read(self, content: bytes, *columns: str, reader: base.Reader | None = None, **options: Any) -> reading.Read:
    self.path.write_bytes(content)
    reader = reader or delimited.Csv(**options)
    parts = reader.parts(str(self.path), 0)
    blocks = [block for part in parts for block in reader.read(part, columns or ('a', 'b'))]
    self.notes = reading.notes(blocks)
    return reading.gather(blocks)

  @hypothesis.given(strategies.lists(strategies.tuples(_VALUES, _VALUES)), _ENDS)
  @hypothesis.settings(deadline=None)
  def test_what_python_writes_comes_back(self, rows: list[tuple[str, str]], end: str) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([('a', 'b'), *rows])
    found = self._read(text.getvalue().encode())
    self.assertEqual((found.rows, found.refused), (rows, {}))
    self.assertEqual(found.positions, list(range(len(rows))))

  @hypothesis.given(
    strategies.lists(strategies.sampled_from(['1,2', '3', '4,5,6', '"7,8', '9,"x"', '"1""2",', '', 'é,\xff'])),
    strategies.lists(_ENDS, min_size=30, max_size=30),
    strategies.integers(4, 40),
  )
  @hypothesis.settings(deadline=None, max_examples=60)
  def test_lines_are_rows_however_they_are_cut(self, lines: list[str], ends: list[str], size: int) -> None:
    content = ''.join(line + end for line, end in zip(['a,b', *lines], ends, strict=False)).encode('latin-1')
    lines = lines[:29]
    with mock.patch.multiple(streams, BLOCK_BYTES=size, PART_BYTES=size + 3):
      found = self._read(content, newlines_in_values=False)
    good = {'1,2': ('1', '2'), '9,"x"': ('9', 'x'), '"1""2",': ('1"2', None)}
    self.assertEqual(found.rows, [good[line] for line in lines if line in good])
    counts = {
      'wrong_number_of_fields': lines.count('3') + lines.count('4,5,6'),
      'open_quote': lines.count('"7,8'),
      'not_utf8': lines.count('é,\xff'),
    }
    self.assertEqual(found.refused, {reason: count for reason, count in counts.items() if count})
    self.assertEqual(found.positions, sorted(set(found.positions)))

  @parameterized.named_parameters(
    ('plain', b'a,b\n1,2\n', {}),
    ('other_columns', b'x,b,y,a,x\n0,2,0,1,0\n', {}),
    ('semicolons', b'a;b\n1;2\n', {'delimiter': ';'}),
    ('no_header', b'1,2\n', {'column_names': ('a', 'b')}),
    ('lines_before_the_header', b'made by me\n\na,b\n1,2\n', {'skip_lines': 2}),
    ('lines_before_the_rows', b'made by me\r\n1,2\r\n', {'skip_lines': 1, 'column_names': ('a', 'b')}),
    ('blank_lines', b'\na,b\n\n\n1,2\n\n', {}),
    ('no_last_newline', b'a,b\n1,2', {}),
    ('byte_order_mark', b'\xef\xbb\xbfa,b\n1,2', {}),
    ('byte_order_mark_and_quotes', b'\xef\xbb\xbf"a",b\n1,2', {}),
    ('byte_order_mark_without_header', b'\xef\xbb\xbf1,2', {'column_names': ('a', 'b')}),
    ('other_quotes', b"a,b\n'1','2'\n", {'quote': "'"}),
    ('packed', gzip.compress(b'a,b\n1,2\n'), {}),
  )
  def test_forms_of_a_file(self, content: bytes, options: dict[str, Any]) -> None:
    for newlines_in_values in (True, False):
      found = self._read(content, newlines_in_values=newlines_in_values, **options)
      self.assertEqual((found.rows, found.refused), ([('1', '2')], {}))

  def test_tabs(self) -> None:
    content = b'a\tb\n1,1\t"2"\n3\t"4\n5\t6"\n'
    self.assertEqual(self._read(content, reader=delimited.Tsv()).rows, [('1,1', '"2"'), ('3', '"4'), ('5', '6"')])
    found = self._read(content, reader=delimited.Tsv(quote='"'))
    self.assertEqual((found.rows, self.notes), ([('1,1', '2'), ('3', '4\n5\t6')], {base.LINES_JOINED: 1}))

  def test_without_quotes_a_large_file_is_read_in_parts(self) -> None:
    content = b'a\tb\n' + b''.join(b'%d\t"\n' % number for number in range(200))
    with mock.patch.multiple(streams, BLOCK_BYTES=50, PART_BYTES=99):
      found = self._read(content, reader=delimited.Tsv())
      self.assertGreater(len(list(delimited.Tsv().parts(str(self.path), 0))), 5)
    self.assertEqual(found.rows, [(str(number), '"') for number in range(200)])

  @parameterized.parameters(b'\n', b'\r\n', b'\r')
  def test_lines_that_quotes_join_are_counted(self, end: bytes) -> None:
    lines = [b'a,b', b'1,"2', b'3', b'', b'4"', b'', b'5,6,7', b'8,"9"', b'"0', b'",0']
    for block in (1 << 20, 30):
      with mock.patch.object(streams, 'BLOCK_BYTES', block):
        found = self._read(end.join(lines))
      self.assertEqual((len(found.rows), found.refused), (3, {'wrong_number_of_fields': 1}))
      self.assertEqual(self.notes, {base.LINES_JOINED: 3})

  def test_no_lines_are_joined_where_none_are(self) -> None:
    self._read(b'a,b\n1,"2"\n\n3\n4,"5""6"\n')
    self.assertEmpty(self.notes)

  def test_a_row_that_is_too_large_takes_no_other_along(self) -> None:
    rows = [f'{number},"x""{number}\ny"\n' for number in range(40)]
    rows.insert(17, f'1,"{"z" * 200}"\n')
    rows.insert(30, f'{"z," * 200}\n')
    rows.insert(33, '1,2,3\n')
    for encoding in ('utf-8', 'utf-16'):
      with mock.patch.object(streams, 'BLOCK_BYTES', 80):
        found = self._read(('a,b\n' + ''.join(rows)).encode(encoding))
      self.assertEqual(found.rows, [(str(number), f'x"{number}\ny') for number in range(40)])
      self.assertEqual(found.positions, list(range(40)))
      self.assertEqual(found.refused, {'row_too_large': 2, 'wrong_number_of_fields': 1})
      self.assertEqual(self.notes, {base.LINES_JOINED: 40})

  def test_a_line_that_is_too_large(self) -> None:
    with mock.patch.multiple(streams, BLOCK_BYTES=50, MAX_LINE_BYTES=100):
      found = self._read(b'a,b\n1,2\n3,' + b'x' * 120 + b'\n4,5\n', newlines_in_values=False)
    self.assertEqual((found.rows, found.refused), ([('1', '2'), ('4', '5')], {'row_too_large': 1}))

  def test_an_escape_takes_the_meaning_from_a_quote(self) -> None:
    content = rb""""a",b
1,"she said \"hi\", and left"
2,x\,y
"""
    expected = [('1', 'she said "hi", and left'), ('2', 'x,y')]
    for newlines_in_values in (True, False):
      found = self._read(content, escape='\\', newlines_in_values=newlines_in_values)
      self.assertEqual((found.rows, found.refused, self.notes), (expected, {}, {}))
      self._read(content, newlines_in_values=newlines_in_values)
      self.assertEqual(self.notes, {base.BACKSLASHES: 2})
    self._read(b'a,b\n1,c:\\dir\n')
    self.assertEmpty(self.notes)

  @parameterized.product(
    encoding=['latin-1', 'cp1252', 'utf-16', 'utf-16-be', 'utf-8', 'shift_jis'], newlines_in_values=[True, False]
  )
  def test_encodings(self, encoding: str, newlines_in_values: bool) -> None:
    text = {'shift_jis': '日本ソ'}.get(encoding, 'né')
    rows = [(str(number), text * (number % 7 + 1)) for number in range(100)]
    content = ''.join(','.join(row) + '\n' for row in [('a', text), *rows]).encode(encoding)
    with mock.patch.multiple(streams, BLOCK_BYTES=200, PART_BYTES=301):
      found = self._read(content, 'a', text, encoding=encoding, newlines_in_values=newlines_in_values)
    self.assertEqual((found.rows, found.refused), (rows, {}))
    self.assertEqual(found.positions, sorted(set(found.positions)))

  def test_a_mark_says_more_than_the_declaration(self) -> None:
    for encoding in ('utf-16', 'utf-8-sig', 'utf-32'):
      found = self._read('a,b\n1,é\n'.encode(encoding), encoding='latin-1')
      self.assertEqual((found.rows, found.refused), ([('1', 'é')], {}))

  @parameterized.parameters(True, False)
  def test_what_an_encoding_does_not_have_is_refused(self, newlines_in_values: bool) -> None:
    found = self._read(b'a,b\n1,\x80\n2,\x81\n', encoding='cp1252', newlines_in_values=newlines_in_values)
    self.assertEqual((found.rows, found.refused), ([('1', '€')], {'not_utf8': 1}))

  def test_a_missing_mark_is_named_with_the_remedy(self) -> None:
    content = 'a,b\n1,é\n'.encode('utf-16-le')
    with self.assertRaisesRegex(base.DamagedFile, 'found UTF-16: write encoding = "utf-16-le" in .input.'):
      self._read(content)
    self.assertEqual(self._read(content, encoding='utf-16-le').rows, [('1', 'é')])

  @parameterized.parameters(
    (b'PAR1' + bytes(99), 'a Parquet file'),
    (b'\x89PNG\r\n\x1a\n', 'a PNG image'),
    (b'[{"a": 1}]', 'a JSON array'),
    (gzip.compress(b'%PDF-1.4'), 'a PDF document'),
  )
  def test_another_kind_of_file_is_called_what_it_is(self, content: bytes, name: str) -> None:
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected delimited values in .*log.csv, found {name}: give other'):
      self._read(content)

  def test_a_value_that_is_missing(self) -> None:
    self.assertEqual(self._read(b'a,b\n,""\nNA,"NA"\n').rows, [(None, ''), ('NA', 'NA')])
    self.assertEqual(self._read(b'a,b\n,""\nNA,"NA"\n', null_values=('NA',)).rows, [('', ''), (None, 'NA')])

  def test_bad_rows_are_counted_and_take_no_other_along(self) -> None:
    found = self._read(b'a,b\n1,2\n3\n4,5,6\n\xff\n\xff,7\n8,\xc3\n9,10\n')
    self.assertEqual(found.rows, [('1', '2'), ('9', '10')])
    self.assertEqual(found.refused, {'wrong_number_of_fields': 3, 'not_utf8': 2})

  def test_what_is_not_utf8_matters_in_the_columns_read(self) -> None:
    self.assertEqual(self._read(b'a,b\n1,\xff\n', 'a').rows, [('1',)])

  @parameterized.parameters(1, 2, 3, 5, 8)
  def test_a_character_that_a_block_cuts_is_whole(self, size: int) -> None:
    content = 'a,b\n' + 'é,😀\n' * 20
    with mock.patch.object(delimited, '_HEADER_BYTES', 8), mock.patch.object(streams, 'BLOCK_BYTES', 20 + size):
      found = self._read(content.encode())
    self.assertEqual((found.rows, found.refused), ([('é', '😀')] * 20, {}))

  def test_a_file_of_one_column(self) -> None:
    for newlines_in_values in (True, False):
      found = self._read(b'a\n1\n2,3\n4\n', 'a', newlines_in_values=newlines_in_values)
      self.assertEqual((found.rows, found.refused), ([('1',), ('4',)], {'wrong_number_of_fields': 1}))

  def test_no_rows(self) -> None:
    for newlines_in_values in (True, False):
      for content in (b'', b'\n', b'a,b', b'a,b\n', gzip.compress(b'')):
        self.assertEmpty(self._read(content, newlines_in_values=newlines_in_values).rows)

  def test_more_lines_are_skipped_than_there_are(self) -> None:
    for content in (b'', b'a', b'a,b\n1,2', b'a,b\n1,2\n', gzip.compress(b'')):
      for names in ((), ('a', 'b')):
        for newlines_in_values in (True, False):
          found = self._read(content, skip_lines=3, column_names=names, newlines_in_values=newlines_in_values)
          self.assertEqual((found.rows, found.refused), ([], {}))

  def test_the_first_blocks_have_the_bad_rows_that_were_before_them(self) -> None:
    self.path.write_bytes(b'a,b\n' + b'1,2\n3\n' * 1_000)
    with mock.patch.object(streams, 'BLOCK_BYTES', 600):
      (part,) = delimited.Csv().parts(str(self.path), 0)
      blocks = list(delimited.Csv().read(part, ['a']))
    refused = [block.refused.get('wrong_number_of_fields', 0) for block in blocks]
    rows, bad = np.cumsum([block.table.num_rows for block in blocks]), np.cumsum(refused)
    self.assertGreater(len(blocks), 5)
    self.assertGreaterEqual((bad - rows).min(), -1)
    self.assertEqual((rows[-1], bad[-1]), (1_000, 1_000))

  @parameterized.parameters(True, False)
  def test_a_missing_column_is_named(self, newlines_in_values: bool) -> None:
    expected = "Expected a column 'text' in .*log.csv, found ann, b: name one of these."
    with self.assertRaisesRegex(base.DamagedFile, expected):
      self._read(b'ann,b\n1,2\n', 'ann', 'text', newlines_in_values=newlines_in_values)

  @parameterized.parameters(b'a,b\n1,2\n"3,4\n5,6\n', b'a,b\n1,"2\n', b'a,b\n"' + b'1,2\n' * 50)
  def test_a_quote_that_is_never_closed_is_named_with_the_remedies(self, content: bytes) -> None:
    expected = '^Expected every quote in .*log.csv to be closed, found one that is not: get .* write quote = "" in'
    with mock.patch.object(streams, 'BLOCK_BYTES', 60), self.assertRaisesRegex(base.DamagedFile, expected) as caught:
      self._read(content)
    self.assertNotIn('1,2', str(caught.exception))
    self.assertEmpty(self._read(content, quote='').refused)
    self.assertEqual(self._read(content, newlines_in_values=False).refused['open_quote'], 1)

  @parameterized.product(newlines_in_values=[True, False], cut=[lambda packed: packed[:-1], lambda packed: packed[:99]])
  def test_a_truncated_file_is_damaged(self, newlines_in_values: bool, cut: Callable[[bytes], bytes]) -> None:
    content = b'a,b\n' + b''.join(b'%d,%d\n' % (number, number**3) for number in range(1000))
    with self.assertRaisesRegex(base.DamagedFile, 'damaged .*Truncated'):
      self._read(cut(gzip.compress(content)), newlines_in_values=newlines_in_values)

  @parameterized.parameters(
    ({'delimiter': ''}, ',', b'a,b\n1,2'),
    ({'delimiter': '::'}, ',', b'a,b\n1,2'),
    ({'quote': ','}, "'", b"a,b\n'1','2'"),
    ({'quote': 'é'}, "'", b"a,b\n'1','2'"),
    ({'skip_lines': -1}, 1, b'mine\na,b\n1,2'),
    ({'escape': ','}, '\\', b'a,b\n\\1,2'),
    ({'escape': '\n'}, '\\', b'a,b\n\\1,2'),
    ({'decimal': ';'}, ',', b'a,b\n1,2'),
    ({'encoding': 'utf-7'}, 'utf-8', b'a,b\n1,2'),
  )
  def test_options_are_checked(self, options: dict[str, Any], remedy: str | int, content: bytes) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected .*, found .*: .*\.$') as caught:
      delimited.Csv(**options)
    if isinstance(remedy, str) and 'encoding' not in options:
      self.assertIn(f'"{remedy}"'.replace('\\', '\\\\'), str(caught.exception))
    corrected: dict[str, Any] = dict.fromkeys(options, remedy)
    self.assertEqual(self._read(content, **corrected).rows, [('1', '2')])


if __name__ == '__main__':
  absltest.main()
