"""From the rows of one bucket of clients to what its shard holds, and the account of every row."""

from collections.abc import Iterable
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import client_shards
from pipelines import reports
from pipelines import schema as schema_lib
from pipelines import shard_bytes
from pipelines.declarations import declaration as declarations
from pipelines.featurizers import base as featurizers
from pipelines.rows import client_ids
from pipelines.rows import rows as rows_lib
from pipelines.shards import bounds as bounds_lib
from pipelines.shards import shard_writing
from pipelines.shards import splits as splits_lib

TOO_LITTLE_DATA = 'too_little_data'
# Rows that no example can be made of: the end of a series that fills no window, what lies between two windows.
IN_NO_EXAMPLE = 'in_no_example'
OUTSIDE_VOCABULARY = 'outside_vocabulary'

_TRAIN, _TAIL = (client_shards.SPLITS.index(split) for split in ('train', 'tail'))


class Bucket(NamedTuple):
  """The clients of a bucket within their bounds: ids uint8 `[clients, 16]`, and their rows."""

  ids: np.ndarray
  rows: rows_lib.ClientRows


@dataclasses.dataclass(frozen=True)
class ShardBuilder:
  """Makes the content of shards.

  Attributes:
    featurizer: From rows to examples; whatever it learns is filled in before `build`.
    limits: How much a client may and must contribute.
    splits: What is held out.
    identity: The columns in which a client's rows must differ not to be the same row twice.
  """

  featurizer: featurizers.Featurizer
  limits: bounds_lib.Limits
  splits: splits_lib.Splits
  identity: tuple[str, ...]

  def with_learned(self, value: Any) -> 'ShardBuilder':
    """Returns this builder with what was learned filled in."""
    return dataclasses.replace(self, featurizer=self.featurizer.with_learned(value))

  def gather(self, tables: Iterable[pa.Table]) -> tuple[Bucket, reports.Report]:
    """Returns the clients of a bucket and the account of the rows they lose by their bounds."""
    report = reports.Report()
    kept, removed = bounds_lib.Bounds(self.limits, self.featurizer, self.identity).gather(tables)
    report.count(reports.QUARANTINED, bounds_lib.DUPLICATE, removed.pop(bounds_lib.DUPLICATE))
    for reason, number in removed.items():
      report.count(reports.BOUNDED, reason, number)
    return Bucket(*bounds_lib.client_rows(kept)), report

  def training_rows(self, bucket: Bucket) -> rows_lib.ClientRows:
    """Returns the rows of the training users alone: what something may be learned from."""
    sizes, is_training = np.diff(bucket.rows.starts), self.splits.of_users(bucket.ids) == _TRAIN
    table = bucket.rows.table.filter(pa.array(np.repeat(is_training, sizes)))
    return rows_lib.ClientRows(table, _starts(sizes[is_training]))

  def build(self, bucket: Bucket, report: reports.Report) -> shard_writing.ShardContent:
    """Makes, chooses and splits the examples, and counts every row as used or as bounded."""
    if not len(bucket.ids):
      return _no_content(self.featurizer.schema)
    made = self.featurizer.featurize(bucket.rows)
    keep = bounds_lib.Bounds(self.limits, self.featurizer, self.identity).select(made, bucket.ids)
    counts = np.add.reduceat(np.append(keep, False), made.starts[:-1], dtype=np.int64) * (np.diff(made.starts) > 0)
    is_enough = counts >= self.limits.min_examples_per_client
    keep &= np.repeat(is_enough, np.diff(made.starts))
    rows_used = self._account(bucket, made, keep, is_enough, report)
    if made.unknown is not None:
      report.count(reports.NOTES, OUTSIDE_VOCABULARY, int(made.unknown[keep].sum()))
    return self._split(bucket.ids[is_enough], counts[is_enough], rows_used[is_enough], made, np.flatnonzero(keep))

  def _account(
      self, bucket: Bucket, made: featurizers.Examples, keep: np.ndarray, is_enough: np.ndarray, report: reports.Report
  ) -> np.ndarray:
    """Counts the rows, and returns how many of them each client uses: int64 `[clients]`."""
    starts = bucket.rows.starts
    used = _covered(made.first_row[keep], made.last_row[keep], int(starts[-1]))
    reachable = _covered(made.first_row, made.last_row, int(starts[-1]))
    of_enough = np.repeat(is_enough, np.diff(starts))
    report.count(reports.SET_ASIDE, TOO_LITTLE_DATA, int(np.count_nonzero(~is_enough)))
    report.count(reports.USED, number=int(np.count_nonzero(used)))
    report.count(reports.BOUNDED, TOO_LITTLE_DATA, int(np.count_nonzero(~of_enough)))
    report.count(reports.BOUNDED, IN_NO_EXAMPLE, int(np.count_nonzero(of_enough & ~reachable)))
    report.count(reports.BOUNDED, bounds_lib.MAX_EXAMPLES, int(np.count_nonzero(of_enough & reachable & ~used)))
    return np.add.reduceat(used, starts[:-1], dtype=np.int64)

  def _split(
      self, ids: np.ndarray, counts: np.ndarray, rows_used: np.ndarray, made: featurizers.Examples, kept: np.ndarray
  ) -> shard_writing.ShardContent:
    of_users = self.splits.of_users(ids)
    split = np.repeat(of_users, counts)
    split[(split == _TRAIN) & self.splits.in_tail(ids, counts)] = _TAIL
    client = np.repeat(np.arange(len(ids)), counts)
    order = np.argsort(client * len(client_shards.SPLITS) + split, kind='stable')
    entry = (client * len(client_shards.SPLITS) + split)[order]
    first = np.flatnonzero(np.diff(entry, prepend=-1))
    of_client = client[order][first]
    return shard_writing.ShardContent(
        client_ids.from_bytes(ids[of_client]),
        split[order][first],
        np.append(first, len(entry)),
        np.take(made.features, kept[order], axis=0),
        np.take(made.labels, kept[order], axis=0),
        np.where(np.diff(of_client, prepend=-1) > 0, rows_used[of_client], 0),
    )


def row_identity(client: declarations.Client, featurizer: featurizers.Featurizer) -> tuple[str, ...]:
  """Returns the columns that tell a client's rows apart, as a declaration says it."""
  names = [column.name for column in featurizer.columns]
  if isinstance(client.drop_duplicates, bool):
    return (rows_lib.ORDER, *names) if client.drop_duplicates else ()
  return tuple(name if name in names else rows_lib.ORDER for name in client.drop_duplicates)


def _no_content(schema: schema_lib.Schema) -> shard_writing.ShardContent:
  features, labels = (np.empty((0, *feature.shape), feature.dtype) for feature in (schema.feature, schema.label))
  none = np.zeros(0, np.int64)
  ids = client_ids.from_bytes(np.zeros((0, shard_bytes.ID_BYTES), np.uint8))
  return shard_writing.ShardContent(ids, none, np.zeros(1, np.int64), features, labels, none)


def _covered(first: np.ndarray, last: np.ndarray, rows: int) -> np.ndarray:
  """Returns which rows lie in one of the ranges: bool `[rows]`."""
  changes = np.bincount(first, minlength=rows + 1) - np.bincount(last + 1, minlength=rows + 1)
  return np.cumsum(changes[:rows]) > 0


def _starts(sizes: np.ndarray) -> np.ndarray:
  return np.concatenate([[0], np.cumsum(sizes)])
