"""The bytes of a shard: how Arrow sees examples, where a batch has them in its file, and what they add up to."""

import itertools
import json
import math
from typing import NamedTuple

# The numbers of zlib ten times as fast, which small models notice.
from isal import isal_zlib
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib

ID_BYTES = 16

_SCHEMA_KEY = b'pocketfed.schema'


class Places(NamedTuple):
  """Where some entries are: an array of each column of the index that it takes to read them."""

  shard: np.ndarray
  batch: np.ndarray
  start: np.ndarray
  examples: np.ndarray
  checksum: np.ndarray

  @classmethod
  def of(cls, index: pa.RecordBatch) -> 'Places':
    """Returns views of the columns of an index, or of a part of one."""
    return cls(*(index[name].to_numpy() for name in cls._fields))

  def by_batch(self) -> list[np.ndarray]:
    """Returns the numbers of the entries of each batch."""
    order = np.lexsort((self.batch, self.shard))
    changes = np.diff(self.shard[order]).astype(bool) | np.diff(self.batch[order]).astype(bool)
    return np.split(order, np.flatnonzero(changes) + 1) if len(order) else []


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns `starts[0], starts[0] + 1, ...`, `counts[0]` of them, then those from `starts[1]` on, and so forth."""
  return np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def arrow_schema(schema: schema_lib.Schema) -> pa.Schema:
  """Returns the schema of a shard: a column of lists for the features and one for the labels, and ours as metadata."""
  fields = [
    pa.field(feature.name, pa.list_(pa.from_numpy_dtype(np.dtype(feature.dtype)), feature.size))
    for feature in (schema.feature, schema.label)
  ]
  return pa.schema(fields, {_SCHEMA_KEY: json.dumps(schema.to_json(), sort_keys=True).encode()})


def example_bytes(feature: schema_lib.Feature) -> int:
  """Returns how many bytes one example takes."""
  return np.dtype(feature.dtype).itemsize * feature.size


def find_batch(path: str, schema: schema_lib.Schema, batch: int) -> tuple[int, int]:
  """Returns where in a shard the features and the labels of a batch begin.

  Raises:
    ValueError: If the file is no such shard.
    OSError: If it cannot be opened.
  """
  with pa.memory_map(path) as source:
    whole = source.read_buffer()
  reader = pa.ipc.open_file(whole)
  if not reader.schema.equals(arrow_schema(schema)):
    raise ValueError('Expected a shard of the schema of the data set, found another: restore the file.')
  record = reader.get_batch(batch)
  record.validate()
  if not record.num_rows:
    return 0, 0
  features, labels = (column.values.buffers()[1] for column in record.columns)
  return features.address - whole.address, labels.address - whole.address


def id_bytes(client_ids: pa.FixedSizeBinaryArray) -> np.ndarray:
  """Returns a view of ids: uint8 `[clients, ID_BYTES]`."""
  values = np.frombuffer(client_ids.buffers()[1], np.uint8).reshape(-1, ID_BYTES)
  return values[client_ids.offset : client_ids.offset + len(client_ids)]


def checksum(features: np.ndarray, labels: np.ndarray) -> int:
  """Returns the checksum of one entry, whose arrays are contiguous."""
  return isal_zlib.crc32(labels.data, isal_zlib.crc32(features.data))


def checksums(features: np.ndarray, labels: np.ndarray, bounds: np.ndarray) -> np.ndarray:
  """Returns the checksum of each of many entries: uint32 `[entries]`.

  Args:
    features: `[n, ...]`, contiguous, the entries one after the other.
    labels: `[n, ...]`.
    bounds: Integers `[entries + 1]`: the first example of each entry, and `n`.
  """
  feature_bytes, label_bytes = (array.reshape(-1).view(np.uint8).data for array in (features, labels))
  of_features, of_labels = (
    itertools.pairwise((np.asarray(bounds) * array.itemsize * math.prod(array.shape[1:])).tolist())
    for array in (features, labels)
  )
  found = (
    isal_zlib.crc32(label_bytes[start:stop], isal_zlib.crc32(feature_bytes[first:last]))
    for (first, last), (start, stop) in zip(of_features, of_labels, strict=True)
  )
  return np.fromiter(found, np.uint32, len(bounds) - 1)
