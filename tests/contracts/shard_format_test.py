"""Tests of where entries lie in the bytes of a shard."""

import io
import pathlib
import tempfile
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from contracts import shard_format

_SCHEMA = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'uint8', (3,)),
  schema_lib.Feature('next_character', 'int32', ()),
  ('a', 'b'),
)


def _batch(examples: int, first: int) -> pa.RecordBatch:
  arrays = [np.arange(first, first + examples * 3, dtype=np.uint8), np.arange(first, first + examples, dtype=np.int32)]
  sized = zip(arrays, (3, 1), strict=True)
  columns = [pa.FixedSizeListArray.from_arrays(pa.array(array), size) for array, size in sized]
  return pa.record_batch(columns, schema=shard_format.arrow_schema(_SCHEMA))


class FindBatchTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'shard.arrow')

  def _write(self, *batches: pa.RecordBatch) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_file(file, batches[0].schema) as writer:
      for batch in batches:
        writer.write_batch(batch)
    self.path.write_bytes(file.getvalue())
    return file.getvalue()

  def test_finds_the_arrays_of_each_batch(self) -> None:
    content = self._write(_batch(2, 10), _batch(0, 0), _batch(5, 40))
    for batch, examples, first in ((0, 2, 10), (2, 5, 40)):
      features, labels = shard_format.find_batch(str(self.path), _SCHEMA, batch)
      np.testing.assert_array_equal(
        np.frombuffer(content, np.uint8, examples * 3, features), np.arange(first, first + examples * 3)
      )
      np.testing.assert_array_equal(np.frombuffer(content, np.int32, examples, labels), range(first, first + examples))
    self.assertEqual(shard_format.find_batch(str(self.path), _SCHEMA, 1), (0, 0))

  def test_refuses_a_file_of_another_schema(self) -> None:
    self._write(pa.record_batch({'characters': [1], 'next_character': [2]}))
    with self.assertRaisesRegex(ValueError, 'Expected a shard of the schema'):
      shard_format.find_batch(str(self.path), _SCHEMA, 0)

  def test_refuses_what_is_no_shard(self) -> None:
    self.path.write_bytes(b'no shard at all')
    with self.assertRaises(pa.ArrowInvalid):
      shard_format.find_batch(str(self.path), _SCHEMA, 0)


class ShardBytesTest(parameterized.TestCase):
  def test_the_checksum_is_over_features_then_labels(self) -> None:
    features, labels = np.arange(12, dtype=np.uint8).reshape(4, 3), np.arange(4, dtype=np.int32)
    found = shard_format.checksums(features, labels, np.array([0, 1, 1, 4]))
    parts = (slice(1), slice(0), slice(1, 4))
    expected = [zlib.crc32(features[part].tobytes() + labels[part].tobytes()) for part in parts]
    self.assertEqual(found.tolist(), expected)
    self.assertEqual(found.dtype, np.uint32)
    self.assertEqual(shard_format.checksum(features[1:], labels[1:]), expected[2])

  def test_ids_of_a_slice_are_its_own(self) -> None:
    ids = [bytes([number]) * 15 + b'\0' for number in range(5)]
    found = shard_format.id_bytes(pa.array(ids, pa.binary(16)).slice(2, 2))
    self.assertEqual([row.tobytes() for row in found], ids[2:4])

  @parameterized.parameters(
    ([], [], []), ([5], [0], []), ([3, 0, 9], [2, 0, 3], [3, 4, 9, 10, 11]), ([4, 4], [1, 2], [4, 4, 5])
  )
  def test_ranges(self, starts: list[int], counts: list[int], expected: list[int]) -> None:
    found = shard_format.ranges(np.array(starts, np.int64), np.array(counts, np.int64))
    self.assertEqual(found.tolist(), expected)

  def test_entries_go_by_batch(self) -> None:
    shard, batch, nothing = np.array([1, 0, 1, 0, 1]), np.array([0, 0, 1, 0, 0]), np.zeros(5, np.int64)
    places = shard_format.Places(shard, batch, nothing, nothing, nothing)
    self.assertEqual([entries.tolist() for entries in places.by_batch()], [[1, 3], [0, 4], [2]])
    self.assertEmpty(shard_format.Places(*(column[:0] for column in places)).by_batch())

  def test_the_bytes_of_an_example(self) -> None:
    self.assertEqual([shard_format.example_bytes(feature) for feature in (_SCHEMA.feature, _SCHEMA.label)], [3, 4])


if __name__ == '__main__':
  absltest.main()
