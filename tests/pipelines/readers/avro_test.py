"""Tests of Avro, on files that fastavro writes."""

import datetime
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import fastavro

from pipelines.readers import avro
from pipelines.readers import base
from tests.pipelines.readers import reading


class AvroTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'log.avro')

  def _write(self, types: dict[str, Any], records: list[dict[str, Any]], codec: str = 'null') -> None:
    fields = [{'name': name, 'type': kind} for name, kind in types.items()]
    with self.path.open('wb') as file:
      fastavro.writer(file, {'type': 'record', 'name': 'log', 'fields': fields}, records, codec, sync_interval=100)

  @parameterized.parameters('null', 'deflate', 'bzip2', 'xz', 'snappy')
  def test_all_blocks_are_read(self, codec: str) -> None:
    records = [{'user': f'user {number}', 'order': number, 'more': 1.5} for number in range(200)]
    self._write({'user': 'string', 'order': 'long', 'more': 'double'}, records, codec)
    with mock.patch.object(avro, '_RECORDS_BYTES', 300):
      found = reading.read(avro.Avro(), self.path, 'order', 'user')
    self.assertEqual(found.rows, [(number, f'user {number}') for number in range(200)])
    self.assertEqual(found.positions, list(range(200)))
    self.assertGreater(len(found.types), 3)

  def test_values_keep_their_types(self) -> None:
    time = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)
    types = {'a': ['null', 'string', 'long', 'double'], 'b': {'type': 'long', 'logicalType': 'timestamp-millis'}}
    rows = [{'a': value, 'b': time} for value in (None, 'x', 1, 2.5, 'y')]
    self._write(types, rows)
    found = reading.read(avro.Avro(), self.path, 'a', 'b')
    self.assertEqual(found.rows, [(row['a'], time) for row in rows])
    self.assertLen(found.types, 4)

  def test_no_rows(self) -> None:
    self._write({'a': 'long'}, [])
    self.assertEmpty(reading.read(avro.Avro(), self.path, 'a').rows)

  def test_a_missing_column_is_named(self) -> None:
    self._write({'a': 'long', 'b': 'long'}, [])
    with self.assertRaisesRegex(base.DamagedFile, r"Expected a column 'text' in .*log.avro, found a, b:"):
      reading.read(avro.Avro(), self.path, 'text')

  def test_values_that_are_no_records_are_refused(self) -> None:
    with self.path.open('wb') as file:
      fastavro.writer(file, 'string', ['a'])
    with self.assertRaisesRegex(base.DamagedFile, '^Expected records in .*log.avro, found other values: write rec'):
      reading.read(avro.Avro(), self.path, 'a')
    self._write({'a': 'string'}, [{'a': 'a'}])
    self.assertEqual(reading.read(avro.Avro(), self.path, 'a').rows, [('a',)])

  def test_a_damaged_file_is_named(self) -> None:
    self._write({'a': 'string'}, [{'a': 'x' * 50} for _ in range(20)], 'deflate')
    whole = self.path.read_bytes()
    damaged = [whole[:-1], whole[:-17], whole[:80], whole[:-40] + b'\xff' + whole[-39:]]
    for content in damaged:
      self.path.write_bytes(content)
      with self.assertRaisesRegex(base.DamagedFile, 'Expected a readable file, found .*log.avro damaged'):
        reading.read(avro.Avro(), self.path, 'a')

  @parameterized.parameters((b'', 'an empty file'), (b'a,b\n1,2', 'what looks like text'), (b'PAR1', 'a Parquet file'))
  def test_another_kind_of_file_is_called_what_it_is(self, content: bytes, name: str) -> None:
    self.path.write_bytes(content)
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected an Avro file in .*log.avro, found {name}: give other'):
      reading.read(avro.Avro(), self.path, 'a')

  def test_a_file_that_nobody_may_read_is_not_damaged(self) -> None:
    self.path.mkdir()
    with self.assertRaisesRegex(base.DamagedFile, 'Expected to read .*log.avro, found .*: see to it that it can be'):
      reading.read(avro.Avro(), self.path, 'a')


if __name__ == '__main__':
  absltest.main()
