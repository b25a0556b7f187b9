"""Client shards: the on-disk format between `pipelines` and everything that learns or measures, and how it is read.

A data set is a folder of Arrow IPC files (the shards), an index and a manifest. An entry is what one client has in one
split; a shard's record batches hold many entries each, the examples of an entry together. Any Arrow reader can open a
shard, and the place of a client in the file follows from the place of its batch, so that reading it is one look at
the index and one read of each array. The index says where each entry is, sorted by split and client id. The manifest
names every file that belongs to the data set and is written last: a folder without one is no data set.

Splits: `train` and `tail` belong to the same users, `tail` being the held-out part of each one's examples; `validation`
and `test` hold the held-out users with all of their examples.
"""

from collections.abc import Sequence
import errno
import hashlib
import itertools
import json
import os
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from common import files
from contracts import manifests
from contracts import schema as schema_lib
from contracts import shard_format

SPLITS = manifests.SPLITS
MANIFEST_NAME = 'manifest.json'

# Errors of reading that say nothing about the content.
_NOT_THE_FILE = frozenset({errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class ClientIndex(NamedTuple):
  """The clients of one split, sorted by id: ids uint8 `[clients, 16]` and numbers of examples int64 `[clients]`.

  Both are views of the mapped index: nothing is read but what is looked at.
  """

  client_ids: np.ndarray
  examples: np.ndarray


class ClientShards:
  """A finished data set, open for reading; safe to share between threads.

  Attributes:
    path: The folder.
    manifest: What `shard_writing.write_manifest` wrote.
    schema: What an example holds.
    index: The whole index, an entry a row; mapped, so that no more of it is in memory than was looked at.
  """

  def __init__(self, path: str):
    """Reads the manifest, maps the index, and checks that every file is there with its size.

    Raises:
      ValueError: If the folder holds no finished data set, or a damaged one.
    """
    self.path = path
    self.manifest = read_manifest(path)
    self.schema = schema_lib.Schema.from_json(self.manifest['schema'])
    self._features = (self.schema.feature, self.schema.label)
    self._check_sizes()
    self._check_content(self.manifest['index'])
    with pa.memory_map(os.path.join(path, self.manifest['index'])) as source:
      self.index = pa.ipc.open_file(source).get_batch(0)
    bounds = np.searchsorted(self.index['split'].indices.to_numpy(), np.arange(len(SPLITS) + 1))
    parts = [self.index.slice(start, stop - start) for start, stop in itertools.pairwise(bounds)]
    self._clients = {
      split: ClientIndex(shard_format.id_bytes(part['client_id']), part['examples'].to_numpy())
      for split, part in zip(SPLITS, parts, strict=True)
    }
    self._places = {split: shard_format.Places.of(part) for split, part in zip(SPLITS, parts, strict=True)}
    self._example_bytes = [shard_format.example_bytes(feature) for feature in self._features]
    self._shard_names = {entry['shard']: name for name, entry in self.manifest['files'].items() if 'shard' in entry}
    self._batches: dict[tuple[int, int], tuple[int, int]] = {}

  @property
  def name(self) -> str:
    """The name that the data set was declared with, or that of its folder."""
    return self.manifest.get('declaration', {}).get('name') or os.path.basename(os.path.abspath(self.path))

  @property
  def fingerprint(self) -> str:
    """What tells data sets apart: a hash over the manifest's hash of each file."""
    return hashlib.sha256(json.dumps(self.manifest['files'], sort_keys=True).encode()).hexdigest()

  def clients(self, split: str) -> ClientIndex:
    """Returns the ids and numbers of examples of the clients of a split, in the order that `read` counts them."""
    return self._clients[split]

  def client_id(self, split: str, index: int) -> str:
    """Returns the id of one client in hexadecimal digits."""
    return self._clients[split].client_ids[index].tobytes().hex()

  def num_clients(self, split: str) -> int:
    return len(self._clients[split].examples)

  def num_examples(self, split: str) -> int:
    return int(self._clients[split].examples.sum())

  def read(self, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the read-only features and labels of one client.

    Args:
      split: One of `SPLITS`.
      index: The client's place in `clients(split)`.

    Raises:
      ValueError: If the bytes are not the ones that were written.
    """
    examples = int(self._clients[split].examples[index])
    features, labels = (np.empty((examples, *feature.shape), feature.dtype) for feature in self._features)
    self.read_into(split, index, features, labels)
    for array in (features, labels):
      array.setflags(write=False)
    return features, labels

  def read_into(self, split: str, index: int, features: np.ndarray, labels: np.ndarray) -> None:
    """Reads what `read` returns into arrays of the client's number of examples: contiguous, of the schema's dtypes.

    Raises:
      ValueError: If the bytes are not the ones that were written.
    """
    shard, batch, start, _, checksum = (int(column[index]) for column in self._places[split])
    self._read_examples(shard, batch, start, (features, labels))
    if shard_format.checksum(features, labels) != checksum:
      raise self._damaged_batch(shard, batch)

  def read_all(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the features and labels of a whole split, with the int64 number of the client that each example is of."""
    places = self._places[split]
    return *self._gather(places), np.repeat(np.arange(len(places.examples)), places.examples)

  def read_entries(self, rows: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features and labels of the entries of some rows of the index, one entry after the other.

    Raises:
      ValueError: If the bytes of one are not the ones that were written.
    """
    return self._gather(shard_format.Places.of(rows))

  def verify(self) -> None:
    """Reads every file and checks its hash.

    Raises:
      ValueError: Naming the first file that is not what was written.
    """
    for name in self.manifest['files']:
      self._check_content(name)

  def _check_sizes(self) -> None:
    for name, entry in self.manifest['files'].items():
      path = os.path.join(self.path, name)
      found = os.path.getsize(path) if os.path.isfile(path) else None
      if found is None:
        raise _damaged(self.path, name, 'no such file')
      if found != entry['bytes']:
        raise _damaged(self.path, name, f'{found} bytes instead of {entry["bytes"]}')

  def _check_content(self, name: str) -> None:
    if files.describe(os.path.join(self.path, name))['sha256'] != self.manifest['files'][name]['sha256']:
      raise _damaged(self.path, name, 'other content')

  def _gather(self, places: shard_format.Places) -> tuple[np.ndarray, np.ndarray]:
    """Returns the examples of entries, in the order of the entries, taking up each batch once."""
    bounds = np.concatenate([[0], np.cumsum(places.examples)])
    gathered = [np.empty((bounds[-1], *feature.shape), feature.dtype) for feature in self._features]
    for entries in places.by_batch():
      starts, examples = places.start[entries], places.examples[entries]
      first, stop = int(starts.min()), int((starts + examples).max())
      shard, batch = int(places.shard[entries[0]]), int(places.batch[entries[0]])
      found = [np.empty((stop - first, *feature.shape), feature.dtype) for feature in self._features]
      self._read_examples(shard, batch, first, found)
      there, here = shard_format.ranges(starts - first, examples), shard_format.ranges(bounds[entries], examples)
      for array, part in zip(gathered, found, strict=True):
        array[here] = part[there]
    features, labels = gathered
    for entry in np.flatnonzero(shard_format.checksums(features, labels, bounds) != places.checksum):
      raise self._damaged_batch(int(places.shard[entry]), int(places.batch[entry]))
    return features, labels

  def _read_examples(self, shard: int, batch: int, start: int, arrays: Sequence[np.ndarray]) -> None:
    """Fills arrays with the features and labels of examples of a batch, from `start` on.

    Read rather than mapped: what was mapped and touched stays in the memory of the process, at last the whole data set,
    and a file that became shorter would end the process.
    """
    try:
      offsets = self._find_batch(shard, batch)
      file = os.open(self._shard_path(shard), os.O_RDONLY)
      try:
        for example_bytes, offset, array in zip(self._example_bytes, offsets, arrays, strict=True):
          if os.preadv(file, [array.data], offset + start * example_bytes) != array.nbytes:
            raise EOFError
      finally:
        os.close(file)
    except FileNotFoundError as error:
      raise ValueError(
        f'Expected the {self._shard_names[shard]} that was in {self.path}, found no such file: the data set has '
        'changed meanwhile, open it again.'
      ) from error
    except (pa.ArrowException, OSError, EOFError, KeyError, ValueError) as error:
      if getattr(error, 'errno', None) in _NOT_THE_FILE:
        raise
      raise self._damaged_batch(shard, batch) from error

  def _find_batch(self, shard: int, batch: int) -> tuple[int, int]:
    """Returns where in its file a batch has its features and labels, which does not change."""
    if (shard, batch) not in self._batches:
      self._batches[shard, batch] = shard_format.find_batch(self._shard_path(shard), self.schema, batch)
    return self._batches[shard, batch]

  def _shard_path(self, shard: int) -> str:
    return os.path.join(self.path, self._shard_names[shard])

  def _damaged_batch(self, shard: int, batch: int) -> ValueError:
    return _damaged(self.path, self._shard_names.get(shard, f'shard {shard}'), f'other content in batch {batch}')


def read_manifest(path: str) -> dict[str, Any]:
  """Returns the manifest of the finished data set in a folder.

  Raises:
    ValueError: If there is none, or not one of ours.
  """
  try:
    with open(os.path.join(path, MANIFEST_NAME), 'rb') as file:
      return parse_manifest(path, file.read())
  except (FileNotFoundError, NotADirectoryError) as error:
    remedy = 'copy it to a local disk first' if '://' in path else 'make it with pipelines.preprocess'
    raise ValueError(f'Expected a finished data set in {path}, found no {MANIFEST_NAME}: {remedy}.') from error


def parse_manifest(path: str, content: bytes) -> dict[str, Any]:
  """Returns what the manifest of the data set in a folder says.

  Raises:
    ValueError: If it is not one of ours.
  """
  try:
    return manifests.parse(content)
  except ValueError as error:
    raise _damaged(path, MANIFEST_NAME, str(error)) from error


def _damaged(path: str, name: str, found: str) -> ValueError:
  return ValueError(
    f'Expected the {name} that the data set in {path} was made with, found {found}: '
    'delete the folder and run pipelines.preprocess again.'
  )
