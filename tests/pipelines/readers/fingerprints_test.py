"""Tests of fingerprints of what a row holds besides the columns asked for, and that every format gives them."""

from collections.abc import Sequence
import json
import pathlib
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import fastavro
import pyarrow as pa
from pyarrow import parquet
import pytest

from pipelines.readers import avro
from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import fingerprints
from pipelines.readers import jsonl
from pipelines.readers import parquet as parquet_reader
from pipelines.readers import streams
from pipelines.readers import tfrecord

# Rows in pairs: those of one letter differ in nothing, `b` and `B` in a column that nobody asks for.
_ROWS: list[dict[str, Any]] = [
  {'id': 'u', 'at': 1, 'price': 5, 'shop': 'x'},
  {'id': 'u', 'at': 1, 'price': 5, 'shop': 'x'},
  {'id': 'u', 'at': 1, 'price': 5, 'shop': 'y'},
  {'id': 'u', 'at': 1, 'price': 6, 'shop': 'x'},
  {'id': 'u', 'at': 1, 'price': None, 'shop': None},
  {'id': 'u', 'at': 1, 'price': None, 'shop': None},
]
_EQUAL = [0, 0, 2, 3, 4, 4]
_ASKED = ['id', fingerprints.REST, 'at']


def _groups(reader: base.Reader, path: pathlib.Path, columns: Sequence[str] = _ASKED) -> list[int]:
  """Returns of each row the first one with the same fingerprint, of the last one -1 if it is nothing."""
  of_rows: dict[int, int] = {}
  for part in reader.parts(str(path), 0):
    for block in reader.read(part, columns):
      if block.table.num_rows and block.table.column_names != list(columns):
        raise AssertionError(block.table.column_names)
      of_rows |= dict(zip(block.positions.tolist(), block.table[fingerprints.REST].to_pylist(), strict=True))
  found = [of_rows[position] for position in sorted(of_rows)]
  return [-1 if value == 0 else found.index(value) for value in found]


class FormatsTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.create_tempdir().full_path) / 'log'

  def _write_json(self, rows: Sequence[dict[str, Any]]) -> pathlib.Path:
    self.path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return self.path

  def test_json_lines(self) -> None:
    self.assertEqual(_groups(jsonl.JsonLines(), self._write_json(_ROWS)), [*_EQUAL[:4], -1, -1])

  def test_json_lines_that_hold_what_was_asked_for_alone(self) -> None:
    rows = [{'at': 1, 'id': 'u'}, {'id': 'u', 'at': 1}]
    self.assertEqual(_groups(jsonl.JsonLines(), self._write_json(rows)), [-1, -1])

  @parameterized.named_parameters(
    ('mixed_types', 7, {'shop': [1]}),
    ('mixed_in_what_is_asked', 'x', {'at': 'late'}),
    ('nested', {'a': 1}, {'shop': {'a': 2}}),
  )
  def test_json_lines_however_they_are_read(self, shop: Any, other: dict[str, Any]) -> None:
    row = {'id': 'u', 'at': 1, 'shop': shop}
    rows = [row, {**row, **other}, row, {'id': 'u', 'at': 1}]
    groups = _groups(jsonl.JsonLines(), self._write_json(rows))
    self.assertEqual(groups, [0, 1, 0, -1])

  def test_json_lines_with_a_rare_key_of_mixed_types_that_no_sampled_line_has(self) -> None:
    row = {'id': 'u', 'at': 1}
    rows = [*[{'id': 'u', 'at': number} for number in range(2, 10_002)], row, row]
    for place, value in ((10, 1), (11, 'x'), (5_001, 'x'), (5_002, 1), (9_990, 1)):
      rows[place] = {**row, 'shop': value}
    expected = [-1] * len(rows)
    for place, first in ((10, 10), (11, 11), (5_001, 11), (5_002, 10), (9_990, 10)):
      expected[place] = first
    for block in (streams.BLOCK_BYTES, 100_000, 10_000, 900):
      with self.subTest(block), mock.patch.object(streams, 'BLOCK_BYTES', block):
        found = _groups(jsonl.JsonLines(), self._write_json(rows))
        wrong = [place for place, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
        self.assertEmpty(wrong)

  def test_a_row_has_the_same_fingerprint_beside_others_that_have_more(self) -> None:
    plain, more = {'id': 'u', 'at': 1}, {'id': 'u', 'at': 1, 'shop': 'x'}
    self.assertEqual(_groups(jsonl.JsonLines(), self._write_json([plain, more, plain])), [-1, 1, -1])

  @parameterized.parameters(True, False)
  def test_csv(self, newlines_in_values: bool) -> None:
    lines = [','.join('' if value is None else str(value) for value in row.values()) for row in _ROWS]
    self.path.write_text('\n'.join(['id,at,price,shop', *lines, '']))
    reader = delimited.Csv(newlines_in_values=newlines_in_values)
    self.assertEqual(_groups(reader, self.path), [*_EQUAL[:4], -1, -1])
    self.assertEqual(_groups(reader, self.path, [*_ASKED, 'price', 'shop']), [-1] * 6)

  def test_bytes_that_are_no_text_in_other_columns_refuse_no_row(self) -> None:
    self.path.write_bytes(b'id,at,shop\nu,1,\xff\nu,1,x\n')
    self.assertEqual(_groups(delimited.Csv(), self.path), [0, 1])

  def test_a_repeated_name_is_no_column(self) -> None:
    self.path.write_text('id,at,x,x\nu,1,2,3\nu,1,4,5\n')
    self.assertEqual(_groups(delimited.Csv(), self.path), [-1, -1])

  def test_parquet(self) -> None:
    parquet.write_table(pa.Table.from_pylist(_ROWS), self.path)
    self.assertEqual(_groups(parquet_reader.Parquet(), self.path), [*_EQUAL[:4], -1, -1])

  def test_parquet_with_lists_and_nested_values(self) -> None:
    varied = ((1, [1]), (2, [1]), (1, [2]), (1, [1]))
    rows = [{'id': 'u', 'at': 1, 'in': {'a': a, 'at': 3}, 'some': some} for a, some in varied]
    parquet.write_table(pa.Table.from_pylist(rows), self.path)
    self.assertEqual(_groups(parquet_reader.Parquet(), self.path), [0, 1, 2, 0])
    self.assertEqual(_groups(parquet_reader.Parquet(), self.path, [*_ASKED, 'in.a', 'in.at', 'some']), [-1] * 4)

  def test_avro(self) -> None:
    optional = [{'name': 'price', 'type': ['null', 'long']}, {'name': 'shop', 'type': ['null', 'string']}]
    fields = [{'name': 'id', 'type': 'string'}, {'name': 'at', 'type': 'long'}, *optional]
    with self.path.open('wb') as file:
      fastavro.writer(file, {'type': 'record', 'name': 'row', 'fields': fields}, _ROWS)
    self.assertEqual(_groups(avro.Avro(), self.path), [*_EQUAL[:4], -1, -1])

  @pytest.mark.slow
  def test_tfrecord(self) -> None:
    import tensorflow as tf  # Takes seconds.

    with tf.io.TFRecordWriter(str(self.path)) as writer:
      for row in _ROWS:
        ints = {
          name: tf.train.Feature(int64_list=tf.train.Int64List(value=[row[name]] if row[name] else []))
          for name in ('at', 'price')
        }
        texts = {
          name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[row[name].encode()] if row[name] else []))
          for name in ('id', 'shop')
        }
        writer.write(tf.train.Example(features=tf.train.Features(feature=ints | texts)).SerializeToString())
    self.assertEqual(_groups(tfrecord.TfRecord(), self.path), [*_EQUAL[:4], -1, -1])


class FingerprintsTest(absltest.TestCase):
  def test_the_order_of_columns_does_not_matter_but_their_names_do(self) -> None:
    first, second = pa.array(['x', None]), pa.array([1, None])
    one = fingerprints.of_columns({'a': first, 'b': second}, 2)
    self.assertEqual(one, fingerprints.of_columns({'b': second, 'a': first}, 2))
    self.assertNotEqual(one[0], fingerprints.of_columns({'a': first, 'c': second}, 2)[0])
    self.assertEqual(one[1].as_py(), 0)
    self.assertEqual(fingerprints.of_columns({}, 2).to_pylist(), [0, 0])

  def test_values_of_any_type(self) -> None:
    arrays = [
      pa.array([b'\xff', None]),
      pa.array([[1], None]),
      pa.array([{'a': 1}, None]),
      pa.array([1.5, None]),
      pa.array([True, None]),
      pa.array([1, None], pa.timestamp('us')),
      pa.array([b'ab', None], pa.binary(2)),
    ]
    for array in arrays:
      some, none = fingerprints.of_columns({'x': array}, 2).to_pylist()
      self.assertNotEqual(some, 0)
      self.assertEqual(none, 0)

  def test_nested_values_that_python_has_no_form_for(self) -> None:
    twins = pa.StructArray.from_arrays([pa.array([1, 1, 1, 2]), pa.array(['a', 'b', 'a', 'a'])], ['z', 'z'])
    fault = pa.array([b'\xff', b'b', b'\xff', b'a']).view(pa.string())
    times = [pa.array([2**62, 1, 2**62, 2], pa.timestamp('s', 'No/Where')), pa.array([1, 2, 1, 3], pa.timestamp('ns'))]
    for inner in (twins, fault, *times, pa.array([2**62, 1, 2**62, 2], pa.duration('s'))):
      one_each = pa.array([0, 1, 2, 3, 4, 4], pa.int32())
      lists = pa.ListArray.from_arrays(one_each, inner)
      kinds = [
        lists,
        lists.cast(pa.large_list(inner.type)),
        pa.StructArray.from_arrays([lists], ['x']),
        pa.MapArray.from_arrays(one_each, pa.array(list('kkkk')), inner),
        pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4, 5], pa.int32()), lists),
      ]
      for array in kinds:
        with self.subTest(str(array.type)):
          found = fingerprints.of_columns({'x': array}, 5).to_pylist()
          self.assertEqual([found.index(value) for value in found], [0, 1, 0, 3, 4])
          self.assertEqual(fingerprints.of_columns({'x': array[1:]}, 4).to_pylist(), found[1:])
    pairs = pa.FixedSizeListArray.from_arrays(times[0], 2)
    self.assertLen(set(fingerprints.of_columns({'x': pairs}, 2).to_pylist()), 2)

  def test_rows_of_python(self) -> None:
    row = {'a': 1, 'b': {'c': None, 'd': {'e': 2}}, 'f': None}
    self.assertEqual(fingerprints.of_row(row, ['a', 'b.d.e']), 0)
    self.assertFalse(fingerprints.has_rest(row, ['a', 'b.d.e']))
    self.assertTrue(fingerprints.has_rest(row, ['a']))
    deep: dict[str, Any] = {'x': 1}
    for _ in range(2_000):
      deep = {'x': deep}
    self.assertTrue(fingerprints.has_rest(deep, []))
    self.assertEqual(fingerprints.of_row(row, ['a']), fingerprints.of_row({'b': {'d': {'e': 2}}}, []))
    self.assertNotEqual(fingerprints.of_row(row, ['a']), fingerprints.of_row(row, []))


if __name__ == '__main__':
  absltest.main()
