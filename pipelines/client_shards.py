"""Client shards: the on-disk format between `pipelines` and everything that learns or measures.

A data set is a folder of Arrow IPC files (the shards), an index and a manifest. A shard holds one record batch per
client and split, so its own footer gives random access, NumPy reads it without a copy, and any Arrow reader can open
it. The index says where each client is. The manifest is written last: a folder without one is no data set.

Splits: `train` and `tail` belong to the same users, `tail` being the held-out last part of each one's data; `test`
holds the held-out users with all of their data.
"""

from collections.abc import Iterable, Sequence
import functools
import hashlib
import json
import os
import threading
from typing import Any, BinaryIO, NamedTuple
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import files
from pipelines import schema as schema_lib

# Grows when a reader of the older form would misread the new one.
FORMAT = 1
SPLITS = ('train', 'tail', 'test')
MANIFEST_NAME = 'manifest.json'
INDEX_NAME = 'index.arrow'

_SCHEMA_KEY = b'pocketfed.schema'
_INDEX_SCHEMA = pa.schema([
    ('client_id', pa.string()),
    ('split', pa.string()),
    ('shard', pa.int32()),
    ('batch', pa.int32()),
    ('examples', pa.int64()),
    ('bytes', pa.int64()),
    ('checksum', pa.uint32()),
])
# The columns of the index that it takes to read a client.
_PLACE = ('shard', 'batch', 'checksum')


class ClientExamples(NamedTuple):
  """What one client has in one split: features `[n, *feature.shape]` and labels `[n, *label.shape]`."""

  client_id: str
  split: str
  features: np.ndarray
  labels: np.ndarray


class ClientIndex(NamedTuple):
  """The clients of one split, sorted by id: string ids and int64 numbers of examples."""

  client_id: np.ndarray
  examples: np.ndarray


def shard_name(shard: int, num_shards: int) -> str:
  """Returns the file name of a shard."""
  return f'shard-{shard:05d}-of-{num_shards:05d}.arrow'


def write_shard(file: BinaryIO, shard: int, schema: schema_lib.Schema, clients: Iterable[ClientExamples]) -> pa.Table:
  """Writes one shard, a client at a time, and returns the index rows of what it holds.

  The bytes depend on the schema and the clients alone.
  """
  fields = [pa.field(feature.name, _arrow_type(feature)) for feature in (schema.feature, schema.label)]
  arrow_schema = pa.schema(fields, {_SCHEMA_KEY: json.dumps(schema.to_json(), sort_keys=True).encode()})
  rows = []
  with pa.ipc.new_file(file, arrow_schema) as writer:
    for batch, client in enumerate(clients):
      arrays = [
          np.ascontiguousarray(array, feature.dtype).reshape(len(array), feature.size)
          for array, feature in ((client.features, schema.feature), (client.labels, schema.label))
      ]
      columns = [
          pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), feature.size)
          for array, feature in zip(arrays, (schema.feature, schema.label), strict=True)
      ]
      writer.write_batch(pa.record_batch(columns, schema=arrow_schema))
      size = sum(array.nbytes for array in arrays)
      rows.append((client.client_id, client.split, shard, batch, len(arrays[0]), size, _checksum(arrays)))
  return pa.Table.from_pylist([dict(zip(_INDEX_SCHEMA.names, row, strict=True)) for row in rows], _INDEX_SCHEMA)


def write_index(output_dir: str, tables: Iterable[pa.Table]) -> pa.Table:
  """Writes the index of all shards, sorted by split and client id, and returns it."""
  table = pa.concat_tables([_INDEX_SCHEMA.empty_table(), *tables])
  table = table.sort_by([('split', 'ascending'), ('client_id', 'ascending')]).combine_chunks()
  path = os.path.join(output_dir, INDEX_NAME)
  with files.open_atomically(path) as file, pa.ipc.new_file(file, table.schema) as writer:
    writer.write_table(table)
  return table


def count_splits(index: pa.Table) -> dict[str, dict[str, int]]:
  """Returns the number of clients and examples of each split."""
  rows = {split: index.filter(pc.equal(index['split'], split)) for split in SPLITS}
  return {
      split: {'clients': table.num_rows, 'examples': pc.sum(table['examples'], min_count=0).as_py()}
      for split, table in rows.items()
  }


def write_manifest(output_dir: str, schema: schema_lib.Schema, details: dict[str, Any]) -> dict[str, Any]:
  """Writes the manifest, the last file of a data set, and returns it.

  Args:
    output_dir: Where the shards and the index already are.
    schema: What an example holds.
    details: What else the manifest says: `splits` (of `count_splits`), `files` (each file's `files.describe`), the
      accounting, limits and flags.
  """
  manifest = json.dumps({'format': FORMAT, 'schema': schema.to_json(), **details}, indent=1, sort_keys=True)
  files.write_atomically(os.path.join(output_dir, MANIFEST_NAME), manifest + '\n')
  return json.loads(manifest)


class ClientShards:
  """A finished data set, open for reading; safe to share between threads.

  Attributes:
    path: The folder.
    manifest: What `write_manifest` wrote.
    schema: What an example holds.
  """

  def __init__(self, path: str):
    """Reads manifest and index, and checks that every file is there with its size.

    Raises:
      ValueError: If the folder holds no finished data set, or a damaged one.
    """
    self.path = path
    self.manifest = read_manifest(path)
    self.schema = schema_lib.Schema.from_json(self.manifest['schema'])
    self._check_sizes()
    if files.describe(os.path.join(path, INDEX_NAME))['sha256'] != self.manifest['files'][INDEX_NAME]['sha256']:
      raise _damaged(path, INDEX_NAME, 'other content')
    with pa.memory_map(os.path.join(path, INDEX_NAME)) as source:
      index = pa.ipc.open_file(source).read_all()
    self._rows = {split: index.filter(pc.equal(index['split'], split)).combine_chunks() for split in SPLITS}
    self._places = {split: [rows[name].to_numpy() for name in _PLACE] for split, rows in self._rows.items()}
    self._shard_names = {_shard_number(name): name for name in self.manifest['files'] if name != INDEX_NAME}
    self._readers: dict[int, pa.RecordBatchFileReader] = {}
    self._lock = threading.Lock()

  @property
  def fingerprint(self) -> str:
    """What tells data sets apart: a hash over the manifest's hash of each file."""
    return hashlib.sha256(json.dumps(self.manifest['files'], sort_keys=True).encode()).hexdigest()

  def clients(self, split: str) -> ClientIndex:
    """Returns the ids and numbers of examples of the clients of a split, in the order that `read` counts them."""
    rows = self._rows[split]
    return ClientIndex(*(rows[name].to_numpy() for name in ClientIndex._fields))

  def num_clients(self, split: str) -> int:
    return self._rows[split].num_rows

  def num_examples(self, split: str) -> int:
    return pc.sum(self._rows[split]['examples'], min_count=0).as_py()

  def read(self, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the read-only features and labels of one client, from the file's own memory.

    Args:
      split: One of `SPLITS`.
      index: The client's place in `clients(split)`.

    Raises:
      ValueError: If the bytes are not the ones that were written.
    """
    shard, batch, checksum = (int(column[index]) for column in self._places[split])
    name, found = self._shard_names[shard], f'other content in batch {batch}'
    try:
      record = self._get_batch(shard, batch)
      features, labels = (_to_numpy(record, feature) for feature in (self.schema.feature, self.schema.label))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
      raise _damaged(self.path, name, found) from error
    if _checksum((features, labels)) != checksum:
      raise _damaged(self.path, name, found)
    return features, labels

  def read_all(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the features and labels of a whole split, with the int64 number of the client that each example is of."""
    clients = [self.read(split, index) for index in range(self.num_clients(split))]
    empty = [np.empty((0, *feature.shape), feature.dtype) for feature in (self.schema.feature, self.schema.label)]
    features, labels = (np.concatenate(arrays) for arrays in zip(empty, *clients, strict=True))
    return features, labels, np.repeat(np.arange(len(clients)), self.clients(split).examples)

  def verify(self) -> None:
    """Reads every file and checks its hash.

    Raises:
      ValueError: Naming the first file that is not what was written.
    """
    for name, entry in self.manifest['files'].items():
      if files.describe(os.path.join(self.path, name)) != entry:
        raise _damaged(self.path, name, 'other content')

  def _check_sizes(self) -> None:
    for name, entry in self.manifest['files'].items():
      path = os.path.join(self.path, name)
      found = os.path.getsize(path) if os.path.isfile(path) else None
      if found is None:
        raise _damaged(self.path, name, 'no such file')
      if found != entry['bytes']:
        raise _damaged(self.path, name, f'{found} bytes instead of {entry["bytes"]}')

  def _get_batch(self, shard: int, batch: int) -> pa.RecordBatch:
    with self._lock:
      if shard not in self._readers:
        self._readers[shard] = pa.ipc.open_file(pa.memory_map(os.path.join(self.path, self._shard_names[shard])))
      record = self._readers[shard].get_batch(batch)
    record.validate()
    return record


def read_manifest(path: str) -> dict[str, Any]:
  """Returns the manifest of a finished data set.

  Raises:
    ValueError: If there is none, or not one of ours.
  """
  try:
    with open(os.path.join(path, MANIFEST_NAME), encoding='utf-8') as file:
      manifest = json.load(file)
  except (FileNotFoundError, NotADirectoryError) as error:
    raise ValueError(
        f'Expected a finished data set in {path}, found no {MANIFEST_NAME}: make it with pipelines.preprocess.'
    ) from error
  except ValueError as error:
    raise _damaged(path, MANIFEST_NAME, 'no valid JSON') from error
  if not isinstance(manifest, dict) or manifest.get('format') != FORMAT or INDEX_NAME not in manifest.get('files', {}):
    raise _damaged(path, MANIFEST_NAME, f'no manifest of format {FORMAT}')
  return manifest


def _damaged(path: str, name: str, found: str) -> ValueError:
  return ValueError(
      f'Expected the {name} that the data set in {path} was made with, found {found}: '
      'delete the folder and run pipelines.preprocess again.'
  )


def _shard_number(name: str) -> int:
  return int(name.split('-')[1])


def _arrow_type(feature: schema_lib.Feature) -> pa.DataType:
  return pa.list_(pa.from_numpy_dtype(np.dtype(feature.dtype)), feature.size)


def _to_numpy(batch: pa.RecordBatch, feature: schema_lib.Feature) -> np.ndarray:
  values = batch.column(feature.name).flatten().to_numpy(zero_copy_only=True)
  return values.reshape(batch.num_rows, *feature.shape)


def _checksum(arrays: Sequence[np.ndarray]) -> int:
  return functools.reduce(lambda checksum, array: zlib.crc32(array.data, checksum), arrays, 0)
