"""Puts entries and associated files into a TFLite file, and reads them again. A leaf, without TensorFlow.

The file is packed anew, with all that an interpreter reads, and without the names of the tensors inside: nothing needs
them, and in a file of unrolled layers they take a quarter of the bytes. Weights are aligned as the schema asks for,
which the Python library of FlatBuffers does not do by itself. Associated files are a zip archive at the end, not
compressed: readers in C++ map them, and refuse compressed ones.
"""

from collections.abc import Mapping, Sequence
import io
from typing import Any
import zipfile

from ai_edge_litert import schema_py_generated as schema
import flatbuffers
import numpy as np

from export.metadata import metadata_schema_py_generated as metadata_schema

# The name of the entry that all readers of metadata know, and how its content begins.
STANDARD = 'TFLITE_METADATA'
_STANDARD_IDENTIFIER = b'M001'
_MODEL_IDENTIFIER = b'TFL3'
# Of weights and entries.
_ALIGNMENT = 16
_OFFSET_BYTES = 4
# The first date that a zip archive can have: the same files give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16
_UNIX = 3


def pack(content: bytes, entries: Mapping[str, bytes], files: Mapping[str, bytes]) -> bytes:
  """Returns a TFLite file with more in it.

  Args:
    content: The file.
    entries: What is to be found under a name in its list of metadata; replaces what is there under that name.
    files: Associated files by name.

  Raises:
    ValueError: If it is no TFLite file, or one of a later form.
  """
  read_model(content)
  model = schema.ModelT.InitFromPackedBuf(content)
  _check(model)
  _drop_names(model)
  _add_entries(model, entries)
  buffer = io.BytesIO()
  buffer.write(_serialize_model(model, len(content)))
  # Not 'a', which would go on with an archive that the old file ends with.
  with zipfile.ZipFile(buffer, 'w') as archive:
    for name, text in files.items():
      info = zipfile.ZipInfo(name, _DATE)
      info.create_system, info.external_attr = _UNIX, _READABLE
      archive.writestr(info, text)
  return buffer.getvalue()


def read_model(content: bytes) -> Any:
  """Returns the root of a TFLite file.

  Raises:
    ValueError: If it is none.
  """
  if content[4:8] != _MODEL_IDENTIFIER:
    raise ValueError('Expected a TFLite file, found other bytes: return what the convert() of a converter returned.')
  return schema.Model.GetRootAs(content)


def read_entries(content: bytes) -> dict[str, bytes]:
  """Returns the metadata of a TFLite file by name.

  Raises:
    ValueError: If it is none.
  """
  model = read_model(content)
  entries = [model.Metadata(index) for index in range(model.MetadataLength())]
  buffers = {each.Name().decode(): model.Buffers(each.Buffer()) for each in entries}
  return {name: buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b'' for name, buffer in buffers.items()}


def read_standard(content: bytes) -> Any:
  """Returns the `ModelMetadataT` of a TFLite file, as all readers of metadata find it.

  Raises:
    ValueError: If the file has none.
  """
  entry = read_entries(content).get(STANDARD, b'')
  if entry[4:8] != _STANDARD_IDENTIFIER:
    raise ValueError('Expected metadata in a TFLite file, found none: export again.')
  return metadata_schema.ModelMetadataT.InitFromPackedBuf(entry)


def read_files(content: bytes) -> dict[str, bytes]:
  """Returns the associated files of a TFLite file by name."""
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    return {name: archive.read(name) for name in archive.namelist()}


def serialize(metadata: Any) -> bytes:
  """Returns the bytes of a `ModelMetadataT`."""
  builder = flatbuffers.Builder()
  builder.Finish(metadata.Pack(builder), _STANDARD_IDENTIFIER)
  return bytes(builder.Output())


def _check(model: Any) -> None:
  """Refuses a model whose weights are not in it."""
  if model.externalBufferGroups or model.externalBuffers or any(buffer.offset > 1 for buffer in model.buffers):
    raise ValueError(
      'Expected a TFLite file with all weights in it, found one of a later form: convert the model with TensorFlow.'
    )


def _drop_names(model: Any) -> None:
  """Drops the names of tensors that are no input and no output."""
  for graph in model.subgraphs:
    for index in set(range(len(graph.tensors))) - {*graph.inputs, *graph.outputs}:
      graph.tensors[index].name = None


def _add_entries(model: Any, entries: Mapping[str, bytes]) -> None:
  model.metadata = [each for each in model.metadata or () if each.name.decode() not in entries]
  for name, text in entries.items():
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = name, len(model.buffers)
    buffer.data = np.frombuffer(text, np.uint8)
    model.metadata.append(entry)
    model.buffers.append(buffer)


def _serialize_model(model: Any, size: int) -> bytes:
  """Returns the bytes of a `ModelT`, whose own method would not align its buffers.

  Args:
    model: The model.
    size: About how many bytes it takes.
  """
  builder = flatbuffers.Builder(size)
  buffers = _write_offsets(builder, [_write_buffer(builder, buffer.data) for buffer in model.buffers])
  parts = (model.operatorCodes, model.subgraphs, model.metadata, model.signatureDefs)
  codes, graphs, metadata, signatures = (
    _write_offsets(builder, [each.Pack(builder) for each in part or ()]) for part in parts
  )
  description = builder.CreateString(model.description or '')
  schema.ModelStart(builder)
  schema.ModelAddVersion(builder, model.version)
  schema.ModelAddOperatorCodes(builder, codes)
  schema.ModelAddSubgraphs(builder, graphs)
  schema.ModelAddDescription(builder, description)
  schema.ModelAddBuffers(builder, buffers)
  schema.ModelAddMetadata(builder, metadata)
  schema.ModelAddSignatureDefs(builder, signatures)
  builder.Finish(schema.ModelEnd(builder), _MODEL_IDENTIFIER)
  return bytes(builder.Output())


def _write_buffer(builder: flatbuffers.Builder, data: np.ndarray | None) -> int:
  vector = 0
  if data is not None and len(data):
    builder.Prep(_ALIGNMENT, len(data))
    vector = builder.CreateByteVector(data.tobytes())
  schema.BufferStart(builder)
  if vector:
    schema.BufferAddData(builder, vector)
  return schema.BufferEnd(builder)


def _write_offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
  builder.StartVector(_OFFSET_BYTES, len(offsets), _OFFSET_BYTES)
  for offset in reversed(offsets):
    builder.PrependUOffsetTRelative(offset)
  return builder.EndVector()
