"""Formats that client shards could have: each writes the same clients into a folder and reads one of them."""

import abc
from collections.abc import Callable, Iterator
import importlib
import os
from typing import Any
import zlib

import numpy as np
import pyarrow as pa

from contracts import client_shards
from contracts import schema as schema_lib
from contracts import shard_format
from pipelines.shards import shard_writing

LENGTH = 80
CLASSES = 98

# Of a TFRecord: the length and its checksum; the checksum of the content.
_BEFORE_RECORD = 12
_AFTER_RECORD = 4

SCHEMA = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'uint8', (LENGTH,)),
  schema_lib.Feature('next_characters', 'int8', (LENGTH,)),
  ('?',) * CLASSES,
)

Examples = tuple[np.ndarray, np.ndarray]
ReadClient = Callable[[int], Examples]


class Format(abc.ABC):
  """A way to keep the clients of `content`, which are numbered in their order, in a folder."""

  name: str

  @abc.abstractmethod
  def write(self, folder: str, content: shard_writing.ShardContent) -> None:
    """Writes them, and whatever it takes to find one."""

  @abc.abstractmethod
  def open(self, folder: str) -> ReadClient:
    """Returns what reads a client, checked against damage as far as the format goes."""


class Packed(Format):
  """Client shards: an index by client, a place in a batch, a checksum of each client."""

  name = 'Arrow IPC, many clients a batch (ours)'

  def write(self, folder: str, content: shard_writing.ShardContent) -> None:
    shard_writing.write_data_set(folder, SCHEMA, [content])

  def open(self, folder: str) -> ReadClient:
    shards = client_shards.ClientShards(folder)
    return lambda client: shards.read('train', client)


class BatchPerClient(Format):
  """The file's own footer is the index by client; checksums as in ours."""

  name = 'Arrow IPC, a batch per client'

  def write(self, folder: str, content: shard_writing.ShardContent) -> None:
    arrow_schema = shard_format.arrow_schema(SCHEMA)
    checksums, path = [], os.path.join(folder, 'clients.arrow')
    with pa.OSFile(path, 'wb') as file, pa.ipc.new_file(file, arrow_schema) as writer:
      for features, labels in _clients(content):
        flat = (pa.array(array.reshape(-1)) for array in (features, labels))
        columns = [pa.FixedSizeListArray.from_arrays(array, LENGTH) for array in flat]
        writer.write_batch(pa.record_batch(columns, schema=arrow_schema))
        checksums.append(shard_format.checksum(features, labels))
    _sync(path)
    np.save(os.path.join(folder, 'checksums.npy'), np.array(checksums, np.uint32))

  def open(self, folder: str) -> ReadClient:
    reader = pa.ipc.open_file(pa.memory_map(os.path.join(folder, 'clients.arrow')))
    checksums = np.load(os.path.join(folder, 'checksums.npy'))

    def read(client: int) -> Examples:
      columns = reader.get_batch(client).columns
      features, labels = (column.values.to_numpy().reshape(-1, LENGTH) for column in columns)
      _check(shard_format.checksum(features, labels) == checksums[client])
      return features, labels

    return read


class TfRecord(Format):
  """Records of `tf.train.Example`, with the place and a checksum of each.

  Read by hand: TensorFlow's own random reader, which checks the record's checksums, takes a hundred times as long.
  """

  name = 'TFRecord with an index'

  def write(self, folder: str, content: shard_writing.ShardContent) -> None:
    import tensorflow as tf

    places, offset = [], 0
    path = os.path.join(folder, 'clients.tfrecord')
    with tf.io.TFRecordWriter(path) as writer:
      for client in _clients(content):
        record = _to_record(client)
        writer.write(record)
        places.append((offset + _BEFORE_RECORD, len(record), zlib.crc32(record)))
        offset += _BEFORE_RECORD + len(record) + _AFTER_RECORD
    _sync(path)
    np.save(os.path.join(folder, 'places.npy'), np.array(places))

  def open(self, folder: str) -> ReadClient:
    file = open(os.path.join(folder, 'clients.tfrecord'), 'rb')  # noqa: SIM115 - as long as the reader
    places = np.load(os.path.join(folder, 'places.npy'))

    def read(client: int) -> Examples:
      offset, size, checksum = places[client].tolist()
      record = os.pread(file.fileno(), size, offset)
      _check(zlib.crc32(record) == checksum)
      return _from_record(record)

    return read


class ArrayRecord(Format):
  """Records of `tf.train.Example`, each in a group of its own: its makers' choice for random access."""

  def __init__(self, name: str, options: str) -> None:
    self.name = name
    self._options = options
    self._module: Any = importlib.import_module('array_record.python.array_record_module')

  def write(self, folder: str, content: shard_writing.ShardContent) -> None:
    path = os.path.join(folder, 'clients.array_record')
    writer = self._module.ArrayRecordWriter(path, self._options)
    for client in _clients(content):
      writer.write(_to_record(client))
    writer.close()
    _sync(path)

  def open(self, folder: str) -> ReadClient:
    path = os.path.join(folder, 'clients.array_record')
    reader = self._module.ArrayRecordReader(path, 'readahead_buffer_size:0,max_parallelism:0')
    return lambda client: _from_record(reader.read([client])[0])


def _check(is_as_written: bool) -> None:
  if not is_as_written:
    raise ValueError('Expected the bytes that were written, found others: repeat the measurement.')


def _clients(content: shard_writing.ShardContent) -> Iterator[Examples]:
  for start, stop in zip(content.starts[:-1].tolist(), content.starts[1:].tolist(), strict=True):
    yield content.features[start:stop], content.labels[start:stop]


def _to_record(client: Examples) -> bytes:
  import tensorflow as tf

  features, labels = (tf.train.Feature(bytes_list=tf.train.BytesList(value=[array.tobytes()])) for array in client)
  both = tf.train.Features(feature={'features': features, 'labels': labels})
  return tf.train.Example(features=both).SerializeToString()


def _from_record(record: bytes) -> Examples:
  import tensorflow as tf

  found = tf.train.Example.FromString(record).features.feature
  features, labels = (found[name].bytes_list.value[0] for name in ('features', 'labels'))
  return np.frombuffer(features, np.uint8).reshape(-1, LENGTH), np.frombuffer(labels, np.int8).reshape(-1, LENGTH)


def _sync(path: str) -> None:
  """Brings a file to the disk, as ours are when they are written."""
  descriptor = os.open(path, os.O_RDONLY)
  os.fsync(descriptor)
  os.close(descriptor)
