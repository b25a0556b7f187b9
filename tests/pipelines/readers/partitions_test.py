"""Tests of columns in the names of folders."""

import pathlib
import tempfile
from typing import Any

from absl.testing import absltest
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import jsonl
from pipelines.readers import parquet
from pipelines.readers import partitions
from tests.pipelines.readers import reading


class PartitionsTest(absltest.TestCase):

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
    path.write_text('{"user": "ann"}\n{"user": "bob", "lang": "en"}\n{"user": "cid", "lang": null}\n')
    expected = [('ann', '2020-01-02', 'zh/TW'), ('bob', '2020-01-02', 'en'), ('cid', '2020-01-02', 'zh/TW')]
    self.assertEqual(self._read(jsonl.JsonLines(), path, 'user', 'day', 'lang'), expected)

  def test_what_the_file_has_comes_first(self) -> None:
    (self.folder / 'a.csv').write_text('user,day\nann,5\n')
    self.assertEqual(self._read(delimited.Csv(), self.folder / 'a.csv', 'user', 'day'), [('ann', '5')])

  def test_a_column_that_is_nowhere_is_missing(self) -> None:
    (self.folder / 'a.csv').write_text('user\nann\n')
    with self.assertRaisesRegex(base.MissingColumn, "Expected a column 'text'"):
      self._read(delimited.Csv(), self.folder / 'a.csv', 'user', 'day', 'text')


if __name__ == '__main__':
  absltest.main()
