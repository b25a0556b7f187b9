"""Forgetting: taking clients out of a finished data set, so that nothing of them stays in its files.

The shards that hold them are written anew under names that were never used, then an index, then the manifest takes the
place of the old one: that is the moment of the change. What the new manifest does not name is removed afterwards. A
process killed before that moment leaves the old data set, one killed later the new one, and in both cases perhaps files
that belong to neither, which the next call removes.
"""

from collections.abc import Collection, Iterator, Sequence
import contextlib
import dataclasses
import datetime
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common import files
from contracts import client_shards
from contracts import shard_format
from pipelines.shards import accounting
from pipelines.shards import shard_writing

FORGOTTEN = 'forgotten'

# Begins a warning with figures that only a new data set would have anew.
_BEFORE = 'Before clients were forgotten: '


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of a request to forget.

  Attributes:
    asked: How many clients it named.
    clients: How many of them the data set had.
    shards: The numbers of the shards that were written anew.
    rows: How many rows of the input their examples drew on.
    warnings: What the data set, as it is now, cannot be used for, a sentence each.
  """

  asked: int
  clients: int
  shards: tuple[int, ...] = ()
  rows: int = 0
  warnings: tuple[str, ...] = ()


def forget(path: str, client_ids: Collection[bytes]) -> Outcome:
  """Removes clients from the finished data set in a folder; the bytes of the others stay what they are.

  Clients that it does not have are no mistake: they may have been forgotten before.

  Args:
    path: The folder, on a local or mounted disk.
    client_ids: The ids as the data set has them: hashed, 16 bytes each.

  Raises:
    ValueError: If an id is none, if the folder holds no data set, a damaged one, or one that is being changed, or if it
      cannot be written. It holds the old data set then, or the new one: to repeat the call is always safe.
  """
  asked = set(client_ids)
  if any(len(client_id) != shard_format.ID_BYTES for client_id in asked):
    raise ValueError(f'Expected client ids of {shard_format.ID_BYTES} bytes, found another length: hash them first.')
  client_shards.read_manifest(path)
  try:
    with _hold(path):
      return _forget(client_shards.ClientShards(path), asked)
  except OSError as error:
    raise ValueError(
      f'Expected a data set that can be written at {path}, found {error.strerror}: correct that and repeat the command.'
    ) from error


def find_unknown(path: str, client_ids: Sequence[bytes]) -> list[int]:
  """Returns the places of those ids that a finished data set does not have."""
  index = client_shards.ClientShards(path).index
  asked = pa.array(client_ids, pa.binary(shard_format.ID_BYTES))
  return np.flatnonzero(~pc.is_in(asked, value_set=index['client_id']).to_numpy(zero_copy_only=False)).tolist()


def _forget(data: client_shards.ClientShards, asked: Collection[bytes]) -> Outcome:
  _remove_strays(data.path, data.manifest)
  is_gone = pc.is_in(data.index['client_id'], pa.array(list(asked), pa.binary(shard_format.ID_BYTES)))
  gone = data.index.filter(is_gone)
  if not gone.num_rows:
    return Outcome(len(asked), clients=0, warnings=tuple(accounting.warn_of_refusals(data.manifest['splits'])))
  shards = sorted(pc.unique(gone['shard']).to_pylist())
  clients, rows = pc.count_distinct(gone['client_id']).as_py(), pc.sum(gone['rows']).as_py()
  outcome = Outcome(len(asked), clients, tuple(shards), rows)
  manifest = _write_new(data, data.index.filter(pc.invert(is_gone)), outcome)
  # The manifest is on the disk: what it no longer names may go.
  _remove_strays(data.path, manifest)
  return dataclasses.replace(outcome, warnings=tuple(accounting.warn_of_refusals(manifest['splits'])))


def _write_new(data: client_shards.ClientShards, kept: pa.RecordBatch, outcome: Outcome) -> dict[str, Any]:
  """Writes the shards, the index and the manifest of what is kept, and returns the manifest."""
  generation = len(data.manifest.get('forgotten', [])) + 1
  is_touched = pc.is_in(kept['shard'], pa.array(outcome.shards, pa.int32()))
  tables = [pa.Table.from_batches([kept.filter(pc.invert(is_touched))])]
  described = {name: entry for name, entry in data.manifest['files'].items() if 'shard' in entry}
  for old, shard in [(name, entry['shard']) for name, entry in described.items() if entry['shard'] in outcome.shards]:
    del described[old]
    rows = kept.filter(pc.equal(kept['shard'], shard))
    if rows.num_rows:
      name = shard_writing.name_of_generation(old, generation)
      tables.append(_rewrite(data, rows, shard, name))
      described[name] = shard_writing.describe_shard(os.path.join(data.path, name), shard)
  index_name = shard_writing.name_of_generation(shard_writing.INDEX_NAME, generation)
  index = shard_writing.write_index(data.path, tables, index_name)
  described[index_name] = files.describe(os.path.join(data.path, index_name))
  splits = shard_writing.count_splits(index)
  changes = {'index': index_name, 'files': described, 'splits': splits, **_warn_anew(data.manifest, splits)}
  details = data.manifest | changes | _account(data.manifest, outcome)
  return shard_writing.write_manifest(data.path, data.schema, details)


def _warn_anew(manifest: dict[str, Any], splits: dict[str, dict[str, int]]) -> dict[str, list[str]]:
  """Returns the warnings on the splits as they are now, and the others as what was said of the data before."""
  if 'warnings' not in manifest:
    return {}
  outdated = accounting.warn(manifest['splits'])
  others = [warning.removeprefix(_BEFORE) for warning in manifest['warnings'] if warning not in outdated]
  return {'warnings': [*accounting.warn(splits), *(_BEFORE + warning for warning in others)]}


def _rewrite(data: client_shards.ClientShards, rows: pa.RecordBatch, shard: int, name: str) -> pa.Table:
  """Writes the entries of these rows of the index, of one shard, as a new shard in the order of the old one."""
  rows = rows.take(pa.array(np.lexsort((rows['start'].to_numpy(), rows['batch'].to_numpy()))))
  features, labels = data.read_entries(rows)
  starts = np.concatenate([[0], np.cumsum(rows['examples'].to_numpy())])
  splits = rows['split'].indices.to_numpy()
  content = shard_writing.ShardContent(rows['client_id'], splits, starts, features, labels, rows['rows'].to_numpy())
  with files.open_atomically(os.path.join(data.path, name)) as file:
    return shard_writing.write_shard(file, shard, data.schema, content)


def _account(manifest: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
  """Returns the accounts of the manifest after the change: what was used by the forgotten is used no longer."""
  rows, quarantined = manifest['rows'], manifest['rows']['quarantined']
  date = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  entry = {'clients': outcome.clients, 'asked': outcome.asked, 'shards': outcome.shards, 'date': date}
  return {
    'rows': {
      **rows,
      'used': rows['used'] - outcome.rows,
      'quarantined': {**quarantined, FORGOTTEN: quarantined.get(FORGOTTEN, 0) + outcome.rows},
    },
    'forgotten': [*manifest.get('forgotten', []), entry],
  }


def _remove_strays(path: str, manifest: dict[str, Any]) -> None:
  """Removes those of our files that do not belong to the data set."""
  for name in os.listdir(path):
    is_part_of_it = name in manifest['files'] or name == client_shards.MANIFEST_NAME
    if shard_writing.OUR_FILES.fullmatch(name) and not is_part_of_it:
      os.remove(os.path.join(path, name))


@contextlib.contextmanager
def _hold(path: str) -> Iterator[None]:
  """Keeps others from changing the data set at the same time."""
  try:
    folder = files.lock_folder(path)
  except BlockingIOError as error:
    raise ValueError(f'Expected nobody else to change {path}, found another process at it: wait for it.') from error
  try:
    yield
  finally:
    os.close(folder)
