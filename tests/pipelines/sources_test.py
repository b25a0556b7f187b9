"""Tests of reading: every line becomes a row or a counted reason, whatever is in it."""

import gzip
import hashlib
import json
import os
import pathlib
import pickle
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import apache_beam as beam
from apache_beam.testing import test_pipeline
import hypothesis
from hypothesis import strategies

from pipelines import reports
from pipelines import sources

_COLUMNS = sources.Columns('user_id', 'utterance', 'text')
_GOOD = {'user_id': 'amy', 'utterance': 3, 'text': 'hello\nyou'}


def _line(**changed: Any) -> bytes:
  return json.dumps(_GOOD | changed).encode()


def _keep(value: Any, path: str) -> None:
  pathlib.Path(path).write_bytes(pickle.dumps(value))


class ParseLineTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('plain', _line(), ('amy', 3, 'hello\nyou')),
      ('windows_line_end', _line() + b'\r', ('amy', 3, 'hello\nyou')),
      ('more_keys', _line(more=[1]), ('amy', 3, 'hello\nyou')),
      ('numbered_user', _line(user_id=17), ('17', 3, 'hello\nyou')),
      ('empty_text', _line(text=''), ('amy', 3, '')),
      ('outside_ascii', _line(text='é😀'), ('amy', 3, 'é😀')),
      ('half_a_character', _line(text='a\ud800b'), ('amy', 3, 'a\ufffdb')),
      ('largest_order', _line(utterance=2**63 - 1), ('amy', 2**63 - 1, 'hello\nyou')),
  )
  def test_a_good_line(self, line: bytes, row: tuple[str, int, str]) -> None:
    self.assertEqual(sources.parse_line(line, _COLUMNS), row)

  @parameterized.named_parameters(
      ('not_utf8', b'{"user_id": "\xff"}', 'not_utf8'),
      ('utf16', _line().decode().encode('utf-16'), 'not_utf8'),
      ('not_json', b'amy,3,hello', 'not_json'),
      ('cut', _line()[:-1], 'not_json'),
      ('too_deep', b'[' * 100_000, 'not_json'),
      ('endless_number', b'{"utterance": ' + b'9' * 5000 + b'}', 'not_json'),
      ('list', b'[1, 2]', 'not_an_object'),
      ('null', b'null', 'not_an_object'),
      ('no_user', b'{"utterance": 1, "text": "x"}', 'no_user_id'),
      ('null_user', _line(user_id=None), 'no_user_id'),
      ('empty_user', _line(user_id=''), 'no_user_id'),
      ('blank_user', _line(user_id=' '), 'no_user_id'),
      ('true_user', _line(user_id=True), 'no_user_id'),
      ('half_a_user', _line(user_id='\ud800'), 'no_user_id'),
      ('no_order', b'{"user_id": "amy", "text": "x"}', 'no_order'),
      ('null_order', _line(utterance=None), 'no_order'),
      ('text_order', _line(utterance='3'), 'no_order'),
      ('broken_order', _line(utterance=3.5), 'no_order'),
      ('true_order', _line(utterance=True), 'no_order'),
      ('huge_order', _line(utterance=2**63), 'no_order'),
      ('no_text', b'{"user_id": "amy", "utterance": 1}', 'no_text'),
      ('null_text', _line(text=None), 'no_text'),
      ('number_text', _line(text=5), 'no_text'),
  )
  def test_a_bad_line_has_a_reason(self, line: bytes, reason: str) -> None:
    with self.assertRaises(sources.RefusedRow) as caught:
      sources.parse_line(line, _COLUMNS)
    self.assertEqual(caught.exception.args, (reason,))

  def test_columns_have_the_names_that_were_asked_for(self) -> None:
    line = b'{"who": "amy", "when": 3, "what": "hello"}'
    self.assertEqual(sources.parse_line(line, sources.Columns('who', 'when', 'what')), ('amy', 3, 'hello'))

  @hypothesis.given(
      strategies.binary()
      | strategies.recursive(
          strategies.none() | strategies.booleans() | strategies.floats() | strategies.integers() | strategies.text(),
          lambda inner: strategies.lists(inner)
          | strategies.dictionaries(strategies.sampled_from(['user_id', 'utterance', 'text']), inner),
      ).map(lambda value: json.dumps(value).encode())
  )
  def test_any_line_is_a_row_or_refused(self, line: bytes) -> None:
    try:
      user, order, text = sources.parse_line(line, _COLUMNS)
    except sources.RefusedRow:
      return
    self.assertTrue(user)
    self.assertIsInstance(order, int)
    text.encode()


class ReadJsonLinesTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _file(self, name: str, content: bytes) -> str:
    path = self.folder / name
    path.write_bytes(content)
    return str(path)

  def _read(self, *paths: str) -> tuple[list[tuple[str, int, str]], reports.Report]:
    with test_pipeline.TestPipeline(runner='FnApiRunner') as pipeline:
      read = pipeline | sources.ReadJsonLines(paths, _COLUMNS)
      _ = read.rows | 'Rows' >> beam.combiners.ToList() | 'KeepRows' >> beam.Map(_keep, str(self.folder / 'rows'))
      report = read.reports | 'Report' >> beam.CombineGlobally(reports.MergeReports())
      _ = report | 'KeepReport' >> beam.Map(_keep, str(self.folder / 'report'))
    tables, merged = (pickle.loads((self.folder / name).read_bytes()) for name in ('rows', 'report'))
    return sorted(tuple(row.values()) for table in tables for row in table.to_pylist()), merged

  @parameterized.named_parameters(
      ('plain', lambda content: content),
      ('gzip', gzip.compress),
      ('gzip_in_members', lambda content: gzip.compress(content[:40]) + gzip.compress(content[40:])),
      ('byte_order_mark', lambda content: b'\xef\xbb\xbf' + content),
      ('no_last_newline', lambda content: content[:-1]),
      ('windows_line_ends', lambda content: content.replace(b'\n', b'\r\n')),
      ('blank_lines', lambda content: content.replace(b'\n', b'\n \n\n')),
  )
  def test_every_line_arrives_once_even_when_chunks_are_small(self, packed: Any) -> None:
    lines = [_line(utterance=number, text='x' * number) for number in range(60)]
    path = self._file('log', packed(b''.join(line + b'\n' for line in lines)))
    with mock.patch.object(sources, '_CHUNK_BYTES', 100):
      rows, report = self._read(path)
    self.assertEqual(rows, [('amy', number, 'x' * number) for number in range(60)])
    self.assertEqual((report.total(reports.READ), report.problems), (60, []))

  def test_bad_lines_are_counted_by_reason(self) -> None:
    bad = [b'nonsense', _line(user_id=None), _line(user_id=''), b'[]', _line(text=1), b'\xff']
    rows, report = self._read(self._file('log', b'\n'.join([_line(), *bad, _line(utterance=1)])))
    self.assertLen(rows, 2)
    self.assertEqual(report.total(reports.READ), 8)
    counted = {'not_json': 1, 'no_user_id': 2, 'not_an_object': 1, 'no_text': 1, 'not_utf8': 1}
    self.assertEqual(report.reasons(reports.QUARANTINED), counted)

  @parameterized.named_parameters(
      ('truncated', lambda packed: packed[:len(packed) // 2]),
      ('truncated_at_the_end', lambda packed: packed[:-1]),
      ('header_only', lambda packed: packed[:10]),
      ('flipped', lambda packed: packed[:50] + bytes([packed[50] ^ 0xFF]) + packed[51:]),
  )
  def test_a_damaged_gzip_file_is_a_problem_that_names_it(self, damage: Any) -> None:
    rng = hashlib.sha256(b'incompressible').hexdigest()
    good = self._file('good.gz', gzip.compress(_line() + b'\n'))
    bad = self._file('bad.gz', damage(gzip.compress(b''.join(_line(utterance=n, text=rng) + b'\n' for n in range(50)))))
    _, report = self._read(good, bad)
    self.assertLen(report.problems, 1)
    self.assertRegex(report.problems[0], '^Expected a readable file, found .*bad.gz damaged')
    self.assertNotIn(rng, report.problems[0])


class MatchFilesTest(absltest.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())
    for name in ('b.jsonl', 'a.jsonl', 'c.txt'):
      pathlib.Path(self.folder, name).write_text(name)

  def test_a_file_that_two_globs_match_counts_once(self) -> None:
    found = sources.match_files([os.path.join(self.folder, '*.jsonl'), os.path.join(self.folder, 'a.*')])
    self.assertEqual([os.path.basename(path) for path in found], ['a.jsonl', 'b.jsonl'])

  def test_every_glob_must_match(self) -> None:
    with self.assertRaisesRegex(ValueError, r'Expected a file at .*\.csv, found none'):
      sources.match_files([os.path.join(self.folder, '*.jsonl'), os.path.join(self.folder, '*.csv')])

  def test_the_fingerprint_is_of_the_content(self) -> None:
    found = sources.fingerprint([os.path.join(self.folder, 'c.txt')])
    self.assertEqual(found, [{'name': 'c.txt', 'bytes': 5, 'sha256': hashlib.sha256(b'c.txt').hexdigest()}])

  def test_a_folder_is_no_file(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected readable files, found .*Is a directory'):
      sources.fingerprint([self.folder])


if __name__ == '__main__':
  absltest.main()
