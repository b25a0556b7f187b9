"""Tests of Parquet: row groups are parts, and values come with their types."""

import datetime
import pathlib
import tempfile
from unittest import mock
import uuid

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from pipelines.readers import base
from pipelines.readers import fingerprints
from pipelines.readers import parquet
from pipelines.readers import streams
from pipelines.rows import client_ids
from tests.pipelines.readers import reading


class ParquetTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'log.parquet')

  def _write(self, table: pa.Table, row_group_size: int = 10) -> None:
    arrow_parquet.write_table(table, self.path, row_group_size=row_group_size, write_page_checksum=True)

  @parameterized.parameters((1, 10), (1500, 2), (1 << 20, 1))
  def test_row_groups_are_parts_and_small_ones_go_together(self, part_bytes: int, num_parts: int) -> None:
    self._write(pa.table({'a': list(range(95)), 'b': [None, 'x', 'y', '', 'é'] * 19}))
    with (
      mock.patch.multiple(streams, PART_BYTES=part_bytes, BLOCK_BYTES=100),
      mock.patch.object(parquet, '_BATCH_ROWS', 4),
    ):
      parts = list(parquet.Parquet().parts(str(self.path), 2))
      found = reading.read(parquet.Parquet(), self.path, 'b', 'a')
    self.assertEqual({part.file for part in parts}, {2})
    self.assertBetween(len(parts), num_parts, 2 * num_parts + 1)
    self.assertEqual(found.rows, [([None, 'x', 'y', '', 'é'][number % 5], number) for number in range(95)])
    self.assertEqual(found.positions, list(range(95)))
    self.assertGreater(len(found.types), 5)

  def test_a_block_is_bounded_by_what_it_unpacks_to(self) -> None:
    texts = pa.array(['x' * 1000, 'y' * 1000])
    packed = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 5_000, pa.int32()), texts)
    arrow_parquet.write_table(pa.table({'text': packed}), self.path)
    self._write(pa.table({'text': packed}), row_group_size=10_000)
    self.assertLess(self.path.stat().st_size, 100_000)
    with mock.patch.object(streams, 'BLOCK_BYTES', 1_000_000), mock.patch.object(parquet, '_BATCH_ROWS', 100):
      (part,) = parquet.Parquet().parts(str(self.path), 0)
      sizes = [block.table.nbytes for block in parquet.Parquet().read(part, ['text'])]
    self.assertLen(sizes, 10)
    self.assertLess(max(sizes), 1_200_000)

  def test_values_keep_their_types(self) -> None:
    time = datetime.datetime(2020, 1, 2)
    table = pa.table({'a': pa.array([b'x']), 'b': pa.array([time]), 'c': pa.array(['x']).dictionary_encode()})
    self._write(table)
    found = reading.read(parquet.Parquet(), self.path, 'a', 'b', 'c')
    self.assertEqual((found.rows, found.types), ([(b'x', time, 'x')], [['binary', 'timestamp[us]', 'string']]))

  @parameterized.parameters(True, False)
  def test_ids_of_any_type_are_text(self, store_schema: bool) -> None:
    name = '12345678-9abc-def0-1234-56789abcdef0'
    columns = {
      'uuid': pa.array([uuid.UUID(name)], pa.uuid()),
      'number': pa.array([17], pa.decimal128(38, 0)),
      'large': pa.array(['17'], pa.large_string()),
      'view': pa.array(['17'], pa.string_view()),
      'dictionary': pa.array(['17']).dictionary_encode(),
    }
    arrow_parquet.write_table(pa.table(columns), self.path, store_schema=store_schema)
    ((block,),) = (parquet.Parquet().read(part, list(columns)) for part in parquet.Parquet().parts(str(self.path), 0))
    ids = [client_ids.read_ids(column.chunk(0)) for column in block.table.columns]
    self.assertEqual([(found.values.to_pylist(), found.refused) for found in ids], [([name], {}), *[(['17'], {})] * 4])

  def test_a_name_with_a_dot_is_a_column_and_not_a_field(self) -> None:
    self._write(pa.table({'a.b': [1], 'a': [{'b': 2}]}))
    self.assertEqual(reading.read(parquet.Parquet(), self.path, 'a.b').rows, [(1,)])

  def test_a_field_with_a_dot_in_its_name(self) -> None:
    self._write(pa.table({'id': [1, 1, 1], 's': [{'x.y': 2, 'z': 3}, {'x.y': 2, 'z': 4}, {'x.y': 5, 'z': 3}]}))
    self.assertEqual(reading.read(parquet.Parquet(), self.path, 's.x.y').rows, [(2,), (2,), (5,)])
    found = reading.read(parquet.Parquet(), self.path, 'id', fingerprints.REST).rows
    self.assertLen(set(found), 3)

  def test_a_field_that_is_there_twice(self) -> None:
    structs = pa.StructArray.from_arrays([pa.array([1, 1, 1, 1]), pa.array(list('abba'))], ['z', 'z'])
    self._write(pa.table({'id': [1] * 4, 's': structs}))
    rest = [row[1] for row in reading.read(parquet.Parquet(), self.path, 'id', fingerprints.REST).rows]
    self.assertEqual([rest.index(value) for value in rest], [0, 1, 1, 0])
    with self.assertRaisesRegex(base.DamagedFile, "Expected one column 's.z' in .*log.parquet, found 2 of that name:"):
      reading.read(parquet.Parquet(), self.path, 's.z')

  def test_one_large_text_does_not_make_all_batches_small(self) -> None:
    self._write(pa.table({'a': ['x'] * 3_000 + ['y' * 200_000] + ['z'] * 3_000}), 10_000)
    (part,) = parquet.Parquet().parts(str(self.path), 0)
    with (
      mock.patch.object(streams, 'BLOCK_BYTES', 100_000),
      mock.patch.object(parquet, '_unwrap', wraps=parquet._unwrap) as unwrap,
    ):
      rows = [row for block in parquet.Parquet().read(part, ['a']) for row in block.table['a'].to_pylist()]
    self.assertEqual([len(row) for row in rows], [1] * 3_000 + [200_000] + [1] * 3_000)
    self.assertLess(unwrap.call_count, 10)

  def test_no_rows(self) -> None:
    self._write(pa.table({'a': pa.array([], pa.int64())}))
    self.assertEmpty(reading.read(parquet.Parquet(), self.path, 'a').rows)

  def test_a_missing_column_is_named(self) -> None:
    self._write(pa.table({'a': [1], 'b': [2]}))
    with self.assertRaisesRegex(base.DamagedFile, r"Expected a column 'text' in .*log.parquet, found a, b:"):
      reading.read(parquet.Parquet(), self.path, 'a', 'text')

  def test_a_damaged_file_is_named(self) -> None:
    self._write(pa.table({'a': [str(number) for number in range(1000)]}), 1000)
    whole = self.path.read_bytes()
    damaged = [whole[:-1], whole[: len(whole) // 2], whole[:300] + b'\xff\xff' + whole[302:]]
    for content in damaged:
      self.path.write_bytes(content)
      with self.assertRaisesRegex(base.DamagedFile, 'Expected a readable file, found .*log.parquet damaged'):
        reading.read(parquet.Parquet(), self.path, 'a')

  def test_one_value_in_all_rows_is_not_unpacked_at_once(self) -> None:
    value = pa.DictionaryArray.from_arrays(pa.array([0] * 8192, pa.int32()), pa.array(['x' * (1 << 16)]))
    arrow_parquet.write_table(pa.table({'a': value}), self.path, store_schema=False)
    self.assertLess(self.path.stat().st_size, 10_000)
    (part,) = parquet.Parquet().parts(str(self.path), 0)
    blocks = [block.table.nbytes for block in parquet.Parquet().read(part, ['a'])]
    self.assertBetween(max(blocks), 1 << 20, 80 << 20)
    self.assertGreater(sum(blocks), 500 << 20)

  def test_missing_values_of_a_great_width_are_not_made_at_once(self) -> None:
    self._write(pa.table({'a': pa.nulls(8192, pa.binary(1 << 16))}), 8192)
    (part,) = parquet.Parquet().parts(str(self.path), 0)
    blocks = [block.table.nbytes for block in parquet.Parquet().read(part, ['a'])]
    self.assertLess(max(blocks), 80 << 20)

  @parameterized.parameters((b'', 'an empty file'), (b'a,b\n1,2', 'what looks like text'), (b'Obj\x01', 'an Avro file'))
  def test_another_kind_of_file_is_called_what_it_is(self, content: bytes, name: str) -> None:
    self.path.write_bytes(content)
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected Parquet in .*log.parquet, found {name}: give other'):
      reading.read(parquet.Parquet(), self.path, 'a')


if __name__ == '__main__':
  absltest.main()
