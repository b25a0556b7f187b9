"""Tests of columns in the names of folders."""

import json
import pathlib
import tempfile
from typing import Any
import urllib.parse

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import fingerprints
from pipelines.readers import jsonl
from pipelines.readers import parquet
from pipelines.readers import partitions
from tests.pipelines.readers import reading


class PartitionsTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'day=2020-01-02', 'lang=zh%2FTW')
    self.folder.mkdir(parents=True)

  def _read(self, reader: base.Reader, path: pathlib.Path, *columns: str) -> list[tuple[Any, ...]]:
    parts = reader.parts(str(path), 0)
    return reading.gather(block for part in parts for block in partitions.read(reader, part, columns)).rows

  def test_folders_are_columns(self) -> None:
    self.assertEqual(partitions.find('a/day=3/x=__HIVE_DEFAULT_PARTITION__/y=1/b=c'), {'day': '3', 'x': None, 'y': '1'})
    self.assertEqual(partitions.find('=3/a'), {})

  def test_files_with_a_header_lack_them(self) -> None:
    (self.folder / 'a.csv').write_text('user,text\nann,hello\nbob,\n')
    arrow_parquet.write_table(pa.table({'user': ['ann', 'bob'], 'text': ['hello', None]}), self.folder / 'a.parquet')
    expected = [('2020-01-02', 'hello', 'ann', 'zh/TW'), ('2020-01-02', None, 'bob', 'zh/TW')]
    for reader, name in ((delimited.Csv(), 'a.csv'), (parquet.Parquet(), 'a.parquet')):
      self.assertEqual(self._read(reader, self.folder / name, 'day', 'text', 'user', 'lang'), expected)

  def test_rows_of_json_lack_them(self) -> None:
    path = self.folder / 'a.jsonl'
    path.write_text('{"user": "ann"}\n{"user": "bob", "as": {"lang": "en"}}\n')
    expected = [('ann', '2020-01-02', 'zh/TW'), ('bob', '2020-01-02', 'zh/TW')]
    self.assertEqual(self._read(jsonl.JsonLines(), path, 'user', 'day', 'lang'), expected)

  @parameterized.parameters('"en"', '5', 'null')
  def test_rows_without_a_value_have_none_where_the_file_has_the_column(self, value: str) -> None:
    rows = ['{"user": "ann", "day": 1}', '{"user": "bob", "lang": null}']
    path = self.folder / 'a.jsonl'
    # The row that has the column stands in another block than most.
    path.write_text('\n'.join([*rows * 70_000, f'{{"user": "cid", "lang": {value}}}']))
    found = {lang for _, lang in self._read(jsonl.JsonLines(), path, 'user', 'lang')}
    self.assertEqual(found, {None, json.loads(value)})
    table = pa.table({'user': ['ann', 'bob'], 'lang': pa.array([None, None], pa.string())})
    arrow_parquet.write_table(table, self.folder / 'a.parquet')
    found = {lang for _, lang in self._read(parquet.Parquet(), self.folder / 'a.parquet', 'user', 'lang')}
    self.assertEqual(found, {None})

  def test_folders_that_are_not_asked_for_tell_rows_apart(self) -> None:
    found = set()
    for name in ('x=1', 'x=2', 'x=2/y=3', 'x=__HIVE_DEFAULT_PARTITION__'):
      folder = self.folder / name
      folder.mkdir()
      for reader, file, text in (
        (delimited.Csv(), 'a.csv', 'user,x\nann,1\nann,1\n'),
        (jsonl.JsonLines(), 'a.jsonl', '{"user": "ann"}\n{"user": "ann"}\n'),
      ):
        (folder / file).write_text(text)
        first, second = self._read(reader, folder / file, 'user', 'day', fingerprints.REST)
        self.assertEqual(first, second)
        self.assertEqual(first[:2], ('ann', '2020-01-02'))
        found.add(first[2])
    self.assertLen(found, 8)

  def test_what_folders_add_to_the_content_of_files(self) -> None:
    paths = ['/a=1/b=2/x', '/a=1/b=3/x', '/a=2/b=2/x']
    self.assertEqual(partitions.describe(paths, ['a', 'c']), [({'a': '1'}, 0), ({'a': '1'}, 0), ({'a': '2'}, 0)])
    self.assertEqual(partitions.describe(paths, ['c']), [])
    columns = ['a', fingerprints.REST]
    self.assertEqual(partitions.describe(paths, columns), [({'a': '1'}, 0), ({'a': '1'}, 1), ({'a': '2'}, 0)])
    # A folder that all files have in common tells none apart.
    self.assertEqual(partitions.describe(paths[:1], ['c', fingerprints.REST]), [])

  @parameterized.parameters(
    ('found /a/user=ann lee/p.jsonl damaged, x=1', '/a/user=…/p.jsonl damaged, x=1'),
    ('found user=a=b/day=2/p, /c/USER=bob/q', 'user=…/day=2/p, /c/USER=…/q'),
    ('found /day=2/user=5', '/day=2/user=5'),
  )
  def test_paths_do_not_show_client_ids(self, text: str, expected: str) -> None:
    self.assertEqual(partitions.hide(text, 'user'), f'found {expected}')

  def test_without_a_column_of_ids_there_is_nothing_to_hide(self) -> None:
    self.assertEqual(partitions.hide('found /day=2/user=5/p', None), 'found /day=2/user=5/p')

  def test_a_quoted_name_of_a_column_is_hidden_too(self) -> None:
    for name in ('a/b c', 'ü'):
      shown = partitions.hide(f'/{urllib.parse.quote(name, safe="")}=ann/p', name)
      self.assertEndsWith(shown, '=…/p')

  def test_what_the_file_has_comes_first(self) -> None:
    (self.folder / 'a.csv').write_text('user,day\nann,5\n')
    self.assertEqual(self._read(delimited.Csv(), self.folder / 'a.csv', 'user', 'day'), [('ann', '5')])

  def test_a_column_that_is_nowhere_is_missing(self) -> None:
    (self.folder / 'a.csv').write_text('user\nann\n')
    with self.assertRaisesRegex(base.MissingColumn, "Expected a column 'text'"):
      self._read(delimited.Csv(), self.folder / 'a.csv', 'user', 'day', 'text')


if __name__ == '__main__':
  absltest.main()
