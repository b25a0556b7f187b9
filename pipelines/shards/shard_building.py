"""From the rows of one bucket of clients to what its shard holds, and the account of every row."""

from collections.abc import Iterable
import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts import client_shards
from contracts import schema as schema_lib
from contracts import shard_format
from pipelines.declarations import declaration as declarations
from pipelines.featurizers import base as featurizers
from pipelines.featurizers import checks
from pipelines.limits import bounds as bounds_lib
from pipelines.limits import splits as splits_lib
from pipelines.rows import client_ids
from pipelines.rows import reports
from pipelines.rows import rows as rows_lib
from pipelines.shards import quality
from pipelines.shards import shard_writing

# Why a client has no examples. The first is a reason of rows too.
TOO_LITTLE_DATA = 'too_little_data'
NO_USABLE_ROW = 'no_usable_row'
# Rows that no example can be made of: the end of a series that fills no window, what lies between two windows.
IN_NO_EXAMPLE = 'in_no_example'
# Rows of examples that are not trained on since they reach into those of the tail.
OVERLAPS_TAIL = 'overlaps_tail'

_TRAIN, _TAIL = (client_shards.SPLITS.index(split) for split in ('train', 'tail'))


class Bucket(NamedTuple):
  """The clients of a bucket within their bounds.

  Attributes:
    ids: Of the clients that have rows: uint8 `[clients, 16]`, sorted.
    rows: Their rows.
    bare_ids: Of the clients that have none: uint8 `[others, 16]`, sorted.
  """

  ids: np.ndarray
  rows: rows_lib.ClientRows
  bare_ids: np.ndarray


@dataclasses.dataclass(frozen=True)
class ShardBuilder:
  """Makes the content of shards.

  Attributes:
    featurizer: From rows to examples; what it learns is filled in before `build`.
    limits: How much a client may and must contribute.
    splits: What is held out.
    identity: The columns in which a client's rows must differ not to be the same row twice.
  """

  featurizer: featurizers.Featurizer
  limits: bounds_lib.Limits
  splits: splits_lib.Splits
  identity: tuple[str, ...]

  @classmethod
  def of(cls, declaration: declarations.Declaration) -> 'ShardBuilder':
    """Returns what makes shards as a declaration says."""
    identity = row_identity(declaration.client, declaration.featurizer)
    return cls(declaration.featurizer, declaration.limits, declaration.splits, identity)

  def gather(self, tables: Iterable[pa.Table]) -> tuple[Bucket, reports.Report]:
    """Returns the clients of a bucket and the account of the rows they lose by their bounds."""
    report = reports.Report()
    kept, removed, bare = bounds_lib.Bounds(self.limits, self.featurizer, self.identity).gather(tables)
    report.count(reports.QUARANTINED, bounds_lib.DUPLICATE, removed.pop(bounds_lib.DUPLICATE))
    for reason, number in removed.items():
      report.count(reports.BOUNDED, reason, number)
    bare_ids = np.frombuffer(b''.join(bare), np.uint8).reshape(-1, shard_format.ID_BYTES)
    return Bucket(*bounds_lib.client_rows(kept), bare_ids), report

  def count_clients(self, bucket: Bucket) -> dict[str, int]:
    """Returns how many clients of each split a bucket has; those to train on include the ones without rows."""
    counts = np.bincount(self.splits.of_users(bucket.ids), minlength=len(client_shards.SPLITS))
    counts[_TRAIN] += np.count_nonzero(self._is_training(bucket.bare_ids))
    return dict(zip(client_shards.SPLITS, counts.tolist(), strict=True))

  def training_rows(self, bucket: Bucket) -> rows_lib.ClientRows:
    """Returns the rows of the training users alone: what something may be learned from."""
    sizes, is_training = np.diff(bucket.rows.starts), self._is_training(bucket.ids)
    table = bucket.rows.table.filter(pa.array(np.repeat(is_training, sizes)))
    return rows_lib.ClientRows(table, _starts(sizes[is_training]))

  def build(self, bucket: Bucket, report: reports.Report) -> shard_writing.ShardContent:
    """Makes, chooses and splits the examples, and counts every row as used or as bounded.

    A training client without examples has an entry all the same, so that the number of training clients does not
    depend on what they have. Examples that do not fit the schema or the rows are a problem of the report, and no
    content.
    """
    bare = self._count_empty(bucket.bare_ids, NO_USABLE_ROW, report)
    if not len(bucket.ids):
      return _content_without_examples(self.featurizer.schema, bare)
    made = self.featurizer.featurize(bucket.rows)
    try:
      checks.check_examples(self.featurizer, made, bucket.rows)
    except ValueError as error:  # Whose featurizer it is reads a line of it, and no runner tries again in vain.
      report.problems.append(str(error))
      return _content_without_examples(self.featurizer.schema, bare)
    chosen = bounds_lib.Bounds(self.limits, self.featurizer, self.identity).select(made, bucket.ids)
    split, apart = self._split(bucket.ids, made, chosen)
    keep = chosen & apart
    counts = _count(keep, made.starts)
    is_enough = counts >= self.limits.min_examples_per_client
    keep &= np.repeat(is_enough, np.diff(made.starts))
    rows_used = self._account(bucket, made, chosen, keep, is_enough, report)
    kept = np.flatnonzero(keep)
    self._observe(bucket, made, kept, split[kept], report)
    empty = np.concatenate([self._count_empty(bucket.ids[~is_enough], TOO_LITTLE_DATA, report), bare])
    return _content(bucket.ids[is_enough], counts[is_enough], rows_used[is_enough], made, kept, split[kept], empty)

  def _is_training(self, ids: np.ndarray) -> np.ndarray:
    return self.splits.of_users(ids) == _TRAIN

  def _count_empty(self, ids: np.ndarray, reason: str, report: reports.Report) -> np.ndarray:
    """Counts clients without examples, and returns the ids of the training clients among them, who stay."""
    is_training = self._is_training(ids)
    report.count(reports.EMPTY, reason, int(np.count_nonzero(is_training)))
    report.count(reports.SET_ASIDE, reason, int(np.count_nonzero(~is_training)))
    return ids[is_training]

  def _observe(
    self, bucket: Bucket, made: featurizers.Examples, kept: np.ndarray, split: np.ndarray, report: reports.Report
  ) -> None:
    """Counts what quality.py judges: values outside of the vocabulary, labels by split, numbers that are not scaled."""
    if made.unknown is not None:
      report.count(reports.NOTES, quality.OUTSIDE_VOCABULARY, int(made.unknown[kept].sum()))
    if made.positions is not None:
      report.count(reports.OBSERVED, quality.POSITIONS, int(made.positions[kept].sum()))
    unscaled = self.featurizer.count_unscaled(bucket.rows.table)
    report.count(reports.OBSERVED, quality.ROWS, bucket.rows.table.num_rows if unscaled else 0)
    for column, number in unscaled.items():
      report.count(reports.OBSERVED, quality.unscaled(column), number)
    if made.labels.ndim == 1:
      for place, name in enumerate(client_shards.SPLITS):
        labels = made.labels[kept][split == place]
        counts = np.bincount(labels[labels >= 0])
        for found in np.flatnonzero(counts).tolist():
          report.count(reports.OBSERVED, quality.label(name, found), int(counts[found]))

  def _account(
    self,
    bucket: Bucket,
    made: featurizers.Examples,
    chosen: np.ndarray,
    keep: np.ndarray,
    is_enough: np.ndarray,
    report: reports.Report,
  ) -> np.ndarray:
    """Counts the rows, and returns how many of them each client uses: int64 `[clients]`."""
    starts = bucket.rows.starts
    used = _covered(made.first_row[keep], made.last_row[keep], int(starts[-1]))
    within = _covered(made.first_row[chosen], made.last_row[chosen], int(starts[-1]))
    reachable = _covered(made.first_row, made.last_row, int(starts[-1]))
    of_enough = np.repeat(is_enough, np.diff(starts))
    report.count(reports.USED, number=int(np.count_nonzero(used)))
    report.count(reports.BOUNDED, TOO_LITTLE_DATA, int(np.count_nonzero(~of_enough)))
    report.count(reports.BOUNDED, IN_NO_EXAMPLE, int(np.count_nonzero(of_enough & ~reachable)))
    report.count(reports.BOUNDED, bounds_lib.MAX_EXAMPLES, int(np.count_nonzero(of_enough & reachable & ~within)))
    report.count(reports.BOUNDED, OVERLAPS_TAIL, int(np.count_nonzero(of_enough & within & ~used)))
    return np.add.reduceat(used, starts[:-1], dtype=np.int64)

  def _split(self, ids: np.ndarray, made: featurizers.Examples, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the split of each example, and which ones may stay: all but those to train on that overlap a tail."""
    sizes, counts = np.diff(made.starts), _count(chosen, made.starts)
    split = np.repeat(self.splits.of_users(ids), sizes)
    in_tail = np.zeros(len(split), bool)
    in_tail[chosen] = self.splits.in_tail(ids, counts)
    in_tail &= split == _TRAIN
    apart = np.ones(len(split), bool)
    if self.featurizer.examples_overlap:
      clients = np.repeat(np.arange(len(ids)), sizes)
      apart = in_tail | splits_lib.ends_before_tail(clients, in_tail, made.first_row, made.last_row)
      # Whoever would have nothing left to train on has no tail.
      has_training = _count(chosen & apart & ~in_tail, made.starts) > 0
      in_tail &= has_training[clients]
      apart |= ~has_training[clients]
    split[in_tail] = _TAIL
    return split, apart


def _content(
  ids: np.ndarray,
  counts: np.ndarray,
  rows_used: np.ndarray,
  made: featurizers.Examples,
  kept: np.ndarray,
  split: np.ndarray,
  empty: np.ndarray,
) -> shard_writing.ShardContent:
  """Returns the examples `kept`, so many of each client, and entries of the `empty` ids, sorted as a shard wants it."""
  splits, with_examples = len(client_shards.SPLITS), len(ids)
  ids = np.concatenate([ids, empty])
  in_order = np.lexsort(ids.view('>u8').T[::-1])
  rank = np.empty_like(in_order)
  rank[in_order] = np.arange(len(ids))
  entry = np.repeat(rank[:with_examples], counts) * splits + split
  order = np.argsort(entry, kind='stable')
  entries = np.unique(np.concatenate([entry, rank[with_examples:] * splits + _TRAIN]))
  of_client = in_order[entries // splits]
  rows_used = np.pad(rows_used, (0, len(empty)))
  return shard_writing.ShardContent(
    client_ids.from_bytes(ids[of_client]),
    entries % splits,
    np.append(np.searchsorted(entry[order], entries), len(entry)),
    np.take(made.features, kept[order], axis=0),
    np.take(made.labels, kept[order], axis=0),
    np.where(np.diff(entries // splits, prepend=-1) > 0, rows_used[of_client], 0),
  )


def row_identity(client: declarations.Client, featurizer: featurizers.Featurizer) -> tuple[str, ...]:
  """Returns the columns that tell a client's rows apart, as a declaration says it."""
  names = [column.name for column in featurizer.columns]
  if isinstance(client.drop_duplicates, bool):
    rest = [rows_lib.REST] if client.compares_all else []
    return (rows_lib.ORDER, *names, *rest) if client.drop_duplicates else ()
  return tuple(name if name in names else rows_lib.ORDER for name in client.drop_duplicates)


def _content_without_examples(schema: schema_lib.Schema, ids: np.ndarray) -> shard_writing.ShardContent:
  features, labels = (np.empty((0, *feature.shape), feature.dtype) for feature in (schema.feature, schema.label))
  none = np.zeros(len(ids), np.int64)
  starts = np.zeros(len(ids) + 1, np.int64)
  return shard_writing.ShardContent(client_ids.from_bytes(ids), none + _TRAIN, starts, features, labels, none)


def _count(mask: np.ndarray, starts: np.ndarray) -> np.ndarray:
  """Returns how many examples of each client the mask has."""
  return np.diff(np.concatenate([[0], np.cumsum(mask)])[starts])


def _covered(first: np.ndarray, last: np.ndarray, rows: int) -> np.ndarray:
  """Returns which rows lie in one of the ranges: bool `[rows]`."""
  changes = np.bincount(first, minlength=rows + 1) - np.bincount(last + 1, minlength=rows + 1)
  return np.cumsum(changes[:rows]) > 0


def _starts(sizes: np.ndarray) -> np.ndarray:
  return np.concatenate([[0], np.cumsum(sizes)])
