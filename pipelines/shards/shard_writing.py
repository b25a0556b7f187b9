"""Writing client shards: the shards one by one, then the index, then the manifest that makes them a data set.

Everything here is a function of its arguments alone: the same content gives the same bytes.
"""

from collections.abc import Callable, Iterable, Sequence
import contextlib
import itertools
import json
import os
import re
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common import files
from common import sealed_json
from contracts import client_shards
from contracts import formats
from contracts import schema as schema_lib
from contracts import shard_format

INDEX_NAME = 'index.arrow'
# What a data set may leave in its folder, finished or not.
OUR_FILES = re.compile(r'(shard-\d+-of-\d+(\.g\d+)?\.arrow|index(\.g\d+)?\.arrow|manifest\.json)(\.\d+\.part)?')

# Large enough that neither writing nor opening is slow, small enough that a reader of all batches needs little memory.
_BATCH_BYTES = 8_000_000
_INDEX_SCHEMA = pa.schema(
  [
    ('client_id', pa.binary(shard_format.ID_BYTES)),
    ('split', pa.dictionary(pa.int8(), pa.string())),
    ('shard', pa.int32()),
    ('batch', pa.int32()),
    ('start', pa.int64()),
    ('examples', pa.int64()),
    ('rows', pa.int64()),
    ('checksum', pa.uint32()),
  ]
)

# Opens a new file that is whole when it appears under its name.
OpenFile = Callable[[str], contextlib.AbstractContextManager[BinaryIO]]


class ClientExamples(NamedTuple):
  """What one client has in one split: features `[n, *feature.shape]` and labels `[n, *label.shape]`."""

  client_id: bytes
  split: str
  features: np.ndarray
  labels: np.ndarray


class ShardContent(NamedTuple):
  """What a shard holds, entry by entry; an entry is what one client has in one split.

  Entries are sorted by client id, those of a client in the order of `client_shards.SPLITS`, each split at most once.

  Attributes:
    client_ids: An Arrow array of binary(16) `[entries]`.
    splits: Integers `[entries]`: places in `client_shards.SPLITS`.
    starts: int64 `[entries + 1]`: the examples of entry `e` are `starts[e]` to `starts[e + 1]`; the first is 0.
    features: `[n, *feature.shape]`.
    labels: `[n, *label.shape]`.
    rows: int64 `[entries]`: how many rows of the input the client's examples draw on, at its first entry; 0 at others.
  """

  client_ids: pa.Array
  splits: np.ndarray
  starts: np.ndarray
  features: np.ndarray
  labels: np.ndarray
  rows: np.ndarray


def shard_name(shard: int, num_shards: int) -> str:
  """Returns the file name of a shard."""
  return f'shard-{shard:05d}-of-{num_shards:05d}.arrow'


def name_of_generation(name: str, generation: int) -> str:
  """Returns the name of a shard or an index that takes the place of the one of this name."""
  return f'{name.split(".")[0]}.g{generation}.arrow'


def pack(clients: Iterable[ClientExamples]) -> ShardContent:
  """Returns the content of a shard of these entries, in any order; each example counts as one row of the input."""
  entries = sorted(clients, key=lambda entry: (entry.client_id, client_shards.SPLITS.index(entry.split)))
  starts = np.cumsum([0, *(len(entry.features) for entry in entries)])
  rows = np.zeros(len(entries), np.int64)
  place = 0
  for _, group in itertools.groupby(entries, key=lambda entry: entry.client_id):
    of_client = list(group)
    rows[place] = sum(len(entry.features) for entry in of_client)
    place += len(of_client)
  return ShardContent(
    pa.array([entry.client_id for entry in entries], pa.binary(shard_format.ID_BYTES)),
    np.array([client_shards.SPLITS.index(entry.split) for entry in entries], np.int8),
    starts,
    np.concatenate([entry.features for entry in entries]),
    np.concatenate([entry.labels for entry in entries]),
    rows,
  )


def write_shard(
  file: BinaryIO | files.DescribedWriter, shard: int, schema: schema_lib.Schema, content: ShardContent
) -> pa.Table:
  """Writes one shard and returns its rows of the index, in the order of the entries.

  Args:
    file: Where to.
    shard: Its number, which `describe_shard` ties to the name of the file.
    schema: What an example holds; arrays of another dtype are converted.
    content: The entries. Arrays of the schema's dtypes are written without another copy in memory.
  """
  arrow_schema = shard_format.arrow_schema(schema)
  firsts = _cut(content.starts, schema)
  checksums = [np.empty(0, np.uint32)]
  with pa.ipc.new_file(file, arrow_schema) as writer:
    for first, stop in itertools.pairwise(firsts):
      starts = content.starts[first : stop + 1]
      features, labels = (
        np.ascontiguousarray(array[starts[0] : starts[-1]], feature.dtype)
        for array, feature in ((content.features, schema.feature), (content.labels, schema.label))
      )
      columns = [_to_arrow(features, schema.feature), _to_arrow(labels, schema.label)]
      writer.write_batch(pa.record_batch(columns, schema=arrow_schema))
      checksums.append(shard_format.checksums(features, labels, starts - starts[0]))
  return _index_rows(content, shard, np.array(firsts), np.concatenate(checksums))


def describe_shard(path: str, shard: int) -> dict[str, Any]:
  """Returns what the manifest says of the file of a shard."""
  return files.describe(path) | {'shard': shard}


def write_index(
  output_dir: str, tables: Iterable[pa.Table], name: str = INDEX_NAME, open_file: OpenFile = files.open_atomically
) -> pa.Table:
  """Writes the index of all shards, sorted by split and client id, and returns it.

  Args:
    output_dir: Where to.
    tables: What `write_shard` returned, in any order.
    name: The file's name.
    open_file: How to open it.
  """
  table = pa.concat_tables([_INDEX_SCHEMA.empty_table(), *tables]).combine_chunks()
  rows = table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], _INDEX_SCHEMA)
  high, low = shard_format.id_bytes(rows['client_id']).view('>u8').T
  rows = rows.take(pa.array(np.lexsort((low, high, rows['split'].indices.to_numpy()))))
  with open_file(os.path.join(output_dir, name)) as file, pa.ipc.new_file(file, _INDEX_SCHEMA) as writer:
    # One batch, whatever its size: a reader maps its columns and never copies them.
    writer.write_batch(rows)
  return pa.Table.from_batches([rows])


def count_splits(index: pa.Table) -> dict[str, dict[str, int]]:
  """Returns the number of clients and examples of each split, and how many of the training clients are `empty`."""
  rows = {split: index.filter(pc.equal(index['split'], split)) for split in client_shards.SPLITS}
  counts = {
    split: {'clients': table.num_rows, 'examples': pc.sum(table['examples'], min_count=0).as_py()}
    for split, table in rows.items()
  }
  counts['train']['empty'] = pc.sum(pc.equal(rows['train']['examples'], 0), min_count=0).as_py()
  return counts


def write_manifest(
  output_dir: str, schema: schema_lib.Schema, details: dict[str, Any], open_file: OpenFile = files.open_atomically
) -> dict[str, Any]:
  """Writes the manifest, the last file of a data set, and returns it.

  Args:
    output_dir: Where the shards and the index already are.
    schema: What an example holds.
    details: What else the manifest says: `index` (the name of its file), `files` (by name the `describe_shard` of each
      shard and the `files.describe` of the index), `splits` (of `count_splits`), the accounting, limits and flags.
    open_file: How to open the file.
  """
  said = json.dumps({formats.KEY: formats.MANIFEST, 'schema': schema.to_json(), **details}, sort_keys=True)
  content = sealed_json.dumps(json.loads(said)).encode()
  with open_file(os.path.join(output_dir, client_shards.MANIFEST_NAME)) as file:
    file.write(content)
  return client_shards.parse_manifest(output_dir, content)


def write_data_set(output_dir: str, schema: schema_lib.Schema, contents: Sequence[ShardContent]) -> dict[str, Any]:
  """Writes a whole data set from shards that are at hand, in a folder that is there, and returns its manifest."""
  tables, described = [], {}
  for shard, content in enumerate(contents):
    name = shard_name(shard, len(contents))
    path = os.path.join(output_dir, name)
    with files.open_atomically(path) as file:
      tables.append(write_shard(file, shard, schema, content))
    described[name] = describe_shard(path, shard)
  index = write_index(output_dir, tables)
  described[INDEX_NAME] = files.describe(os.path.join(output_dir, INDEX_NAME))
  used = pc.sum(index['rows'], min_count=0).as_py()
  details = {
    'index': INDEX_NAME,
    'files': described,
    'splits': count_splits(index),
    'rows': {'read': used, 'used': used, 'bounded': 0, 'quarantined': {}},
  }
  return write_manifest(output_dir, schema, details)


def _cut(starts: np.ndarray, schema: schema_lib.Schema) -> list[int]:
  """Returns the first entry of each batch, and the number of entries: a batch is full, or holds one larger entry."""
  most = max(1, _BATCH_BYTES // sum(map(shard_format.example_bytes, (schema.feature, schema.label))))
  firsts = [0]
  while firsts[-1] < len(starts) - 1:
    stop = int(np.searchsorted(starts, starts[firsts[-1]] + most, 'right')) - 1
    firsts.append(max(stop, firsts[-1] + 1))
  return firsts


def _index_rows(content: ShardContent, shard: int, firsts: np.ndarray, checksums: np.ndarray) -> pa.Table:
  entries = len(content.rows)
  batches = np.repeat(np.arange(len(firsts) - 1), np.diff(firsts))
  columns = [
    content.client_ids,
    pa.DictionaryArray.from_arrays(np.asarray(content.splits, np.int8), list(client_shards.SPLITS)),
    np.full(entries, shard),
    batches,
    content.starts[:-1] - content.starts[firsts[batches]],
    np.diff(content.starts),
    content.rows,
    checksums,
  ]
  arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, _INDEX_SCHEMA, strict=True)]
  return pa.Table.from_arrays(arrays, schema=_INDEX_SCHEMA)


def _to_arrow(array: np.ndarray, feature: schema_lib.Feature) -> pa.Array:
  return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), feature.size)
