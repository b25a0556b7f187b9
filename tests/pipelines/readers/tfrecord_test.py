"""Tests of TFRecord, on files that TensorFlow writes."""

from collections.abc import Sequence
import gzip
import os
import pathlib
import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import tensorflow as tf

from pipelines.readers import base
from pipelines.readers import streams
from pipelines.readers import tfrecord
from tests.pipelines.readers import reading


def _example(**values: Any) -> bytes:
  features = {}
  for name, value in values.items():
    value = value if isinstance(value, list) else [value]
    kind = type(value[0]) if value else None
    features[name] = tf.train.Feature(
      bytes_list=tf.train.BytesList(value=value) if kind is bytes else None,
      int64_list=tf.train.Int64List(value=value) if kind is int else None,
      float_list=tf.train.FloatList(value=value) if kind is float else None,
    )
  return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


class TfRecordTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'log.tfrecord')

  def _write(self, records: Sequence[bytes], packed: str = '') -> None:
    with tf.io.TFRecordWriter(str(self.path), packed) as writer:
      for record in records:
        writer.write(record)

  @parameterized.parameters('', 'GZIP', 'ZLIB')
  def test_all_records_are_read(self, packed: str) -> None:
    self._write([_example(user=b'\xff%d' % number, order=number, more=b'x') for number in range(200)], packed)
    with mock.patch.object(streams, 'BLOCK_BYTES', 1000):
      found = reading.read(tfrecord.TfRecord(), self.path, 'order', 'user')
    self.assertEqual(found.rows, [(number, b'\xff%d' % number) for number in range(200)])
    self.assertEqual((found.positions, found.refused), (list(range(200)), {}))
    self.assertGreater(len(found.types), 5)

  def test_says_which_columns_some_record_has(self) -> None:
    self._write([_example(user=b'a', m=b'x')] * 100 + [_example(user=b'a', rare=1)])
    for columns, expected in ((['user', 'rare'], {'user', 'rare'}), (['who', 'm'], {'m', 'user'})):
      (part,) = tfrecord.TfRecord().parts(str(self.path), 0)
      names = [block.names for block in tfrecord.TfRecord().read(part, columns)]
      self.assertEqual(frozenset().union(*names), expected)

  def test_values_keep_their_types_and_lists_their_length(self) -> None:
    values = [1, b'x', 0.5, None, [], [1, 2], [0.5, 2.0], b'']
    self._write([_example(**({} if value is None else {'a': value}), b=1) for value in values])
    found = reading.read(tfrecord.TfRecord(), self.path, 'a', 'b')
    self.assertEqual(found.rows, [(value or (None if value == [] else value), 1) for value in values])
    for value in (1, b'x', 0.1):
      self._write([_example(a=value), _example(), _example(a=[])])
      rows = reading.read(tfrecord.TfRecord(), self.path, 'a').rows
      self.assertEqual([type(row[0]) for row in rows], [type(value), type(None), type(None)])

  def test_a_column_that_is_not_there_is_null(self) -> None:
    self._write([_example(a=1)])
    self.assertEqual(reading.read(tfrecord.TfRecord(), self.path, 'a', 'b').rows, [(1, None)])

  def test_a_column_that_comes_late_is_read(self) -> None:
    self._write([_example(a=1)] * 100 + [_example(a=1, b=2)])
    self.assertEqual(reading.read(tfrecord.TfRecord(), self.path, 'b').rows[-1], (2,))

  def test_what_is_no_example_is_refused(self) -> None:
    self._write([_example(a=1), b'\xff\xff no example', _example(a=2)])
    found = reading.read(tfrecord.TfRecord(), self.path, 'a')
    self.assertEqual((found.rows, found.positions, found.refused), ([(1,), (2,)], [0, 2], {'not_an_example': 1}))

  def test_no_rows(self) -> None:
    self._write([])
    self.assertEmpty(reading.read(tfrecord.TfRecord(), self.path, 'a').rows)

  def test_a_damaged_file_is_named(self) -> None:
    self._write([_example(a=os.urandom(200)) for _ in range(5)])
    whole = self.path.read_bytes()
    flipped = whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]
    packed = gzip.compress(whole)[:-9]
    for content in (whole[:-1], whole[:100], whole + whole[:5], flipped, packed):
      self.path.write_bytes(content)
      with self.assertRaisesRegex(base.DamagedFile, 'Expected a readable file, found .*log.tfrecord damaged'):
        reading.read(tfrecord.TfRecord(), self.path, 'a')

  def test_a_record_that_is_too_large_takes_no_other_along(self) -> None:
    self._write([_example(a=b'x' * 700)])
    with mock.patch.multiple(streams, BLOCK_BYTES=64, MAX_LINE_BYTES=100):
      self.assertEqual(reading.read(tfrecord.TfRecord(), self.path, 'a').refused, {'row_too_large': 1})
    self._write([_example(a=1), _example(a=b'x' * 500), _example(a=3), _example(a=b'x' * 900)])
    with mock.patch.multiple(streams, BLOCK_BYTES=64, MAX_LINE_BYTES=100):
      found = reading.read(tfrecord.TfRecord(), self.path, 'a')
    self.assertEqual((found.rows, found.positions, found.refused), ([(1,), (3,)], [0, 2], {'row_too_large': 2}))

  @parameterized.parameters((b'no record', 'what looks like text'), (b'1,2\n' * 10, 'what looks like text'))
  def test_another_kind_of_file_is_called_what_it_is(self, content: bytes, name: str) -> None:
    self.path.write_bytes(content)
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected TFRecord in .*log.tfrecord, found {name}: give other'):
      reading.read(tfrecord.TfRecord(), self.path, 'a')


if __name__ == '__main__':
  absltest.main()
