"""Tests that what is put into a file can be read, and that the file answers as before. Without TensorFlow."""

import io
import struct
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import schema_py_generated as schema
import flatbuffers
import numpy as np

from export.metadata import metadata_schema_py_generated as standard
from export.metadata import packing
from tests.export.metadata import tiny


class PackingTest(parameterized.TestCase):
  def test_answers_stay_as_they_were(self) -> None:
    content = tiny.make()
    packed = packing.pack(content, {'OURS': b'{}'}, {'labels.txt': b'a\nb\n'})
    np.testing.assert_array_equal(tiny.answer(packed), tiny.answer(content))

  def test_reads_what_was_packed_and_what_was_there(self) -> None:
    packed = packing.pack(tiny.make(), {'OURS': b'{}', 'LONG': b'x' * 1001, 'NONE': b''}, {'labels.txt': b'a\nb\n'})
    expected = {'min_runtime_version': b'1.5.0', 'OURS': b'{}', 'LONG': b'x' * 1001, 'NONE': b''}
    self.assertEqual(packing.read_entries(packed), expected)
    self.assertEqual(packing.read_files(packed), {'labels.txt': b'a\nb\n'})

  @parameterized.parameters(*range(20))
  def test_weights_are_aligned(self, length: int) -> None:
    model = schema.Model.GetRootAs(packing.pack(tiny.make(), {'OURS': b'x' * length}, {}))
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength()]
    self.assertLen(starts, 3 if length else 2)
    self.assertEqual({start % 16 for start in starts}, {0})

  def test_only_names_that_nobody_needs_are_dropped(self) -> None:
    before = schema.ModelT.InitFromPackedBuf(tiny.make())
    after = schema.ModelT.InitFromPackedBuf(packing.pack(tiny.make(), {}, {}))
    self.assertEqual([tensor.name for tensor in after.subgraphs[0].tensors], [b'x', None, b'y'])
    self.assertEqual((after.description, after.version, after.subgraphs[0].name), (b'tiny', 3, b'main'))
    after.subgraphs[0].tensors[1].name = before.subgraphs[0].tensors[1].name
    contents = []
    for model in (before, after):
      builder = flatbuffers.Builder()
      builder.Finish(model.Pack(builder))
      contents.append(builder.Output())
    self.assertEqual(*contents)

  def test_replaces_what_an_earlier_packing_wrote(self) -> None:
    once = packing.pack(tiny.make(), {'OURS': b'1'}, {'labels.txt': b'a'})
    twice = packing.pack(once, {'OURS': b'2'}, {'labels.txt': b'b'})
    self.assertEqual(packing.read_entries(twice), {'min_runtime_version': b'1.5.0', 'OURS': b'2'})
    self.assertEqual(packing.read_files(twice), {'labels.txt': b'b'})
    np.testing.assert_array_equal(tiny.answer(twice), tiny.answer(once))
    self.assertLess(len(twice), len(once) + 100)

  def test_the_same_bytes_whenever(self) -> None:
    first, second = (packing.pack(tiny.make(), {'OURS': b'1'}, {'labels.txt': b'a'}) for _ in range(2))
    self.assertEqual(first, second)
    (info,) = zipfile.ZipFile(io.BytesIO(first)).infolist()
    self.assertEqual(info.date_time, (1980, 1, 1, 0, 0, 0))

  def test_associated_files_are_not_compressed(self) -> None:
    """Readers in C++ refuse those that are, and look for them from the beginning of the file."""
    packed = packing.pack(tiny.make(), {}, {'labels.txt': b'a' * 1000})
    (info,) = zipfile.ZipFile(io.BytesIO(packed)).infolist()
    self.assertEqual(info.compress_type, zipfile.ZIP_STORED)
    end = packed.rindex(b'PK\x05\x06')
    (directory,) = struct.unpack_from('<I', packed, end + 16)
    self.assertEqual(packed[directory : directory + 4], b'PK\x01\x02')
    self.assertEqual(packed[info.header_offset : info.header_offset + 4], b'PK\x03\x04')

  def test_the_standard_entry(self) -> None:
    metadata = standard.ModelMetadataT()
    metadata.name = 'mine'
    packed = packing.pack(tiny.make(), {packing.STANDARD: packing.serialize(metadata)}, {})
    self.assertEqual(packing.read_standard(packed).name, b'mine')
    with self.assertRaisesRegex(ValueError, 'Expected metadata in a TFLite file, found none'):
      packing.read_standard(tiny.make())

  def test_what_is_no_file_is_refused(self) -> None:
    for content in (b'', b'a file', b'x' * 100):
      with self.assertRaisesRegex(ValueError, '^Expected a TFLite file, found other bytes'):
        packing.pack(content, {}, {})

  def test_fields_that_would_be_lost_are_refused(self) -> None:
    model = schema.ModelT.InitFromPackedBuf(tiny.make())
    group = schema.ExternalBufferGroupT()
    group.name = b'weights.bin'
    model.externalBufferGroups = [group]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b'TFL3')
    with self.assertRaisesRegex(ValueError, 'Expected a TFLite file with all weights in it, found one of a later form'):
      packing.pack(bytes(builder.Output()), {}, {})


if __name__ == '__main__':
  absltest.main()
