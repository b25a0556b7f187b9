"""From the raw columns of a file to rows: the client's hashed id, its place in the client's order, what it says."""

import collections
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import reports
from pipelines.declarations import declaration as declarations
from pipelines.readers import base as readers
from pipelines.rows import client_ids
from pipelines.rows import columns
from pipelines.rows import ordering
from pipelines.rows import rows

# Rows of a file have places below 2^44, files below 2^19.
_FILE_BITS = 44


def raw_columns(declaration: declarations.Declaration) -> list[str]:
  """Returns the names of the columns that have to be read."""
  client = declaration.client
  names = [client.id, *([client.order] if client.order else [])]
  return list(dict.fromkeys([*names, *(column.name for column in declaration.featurizer.columns)]))


class BlockRows(NamedTuple):
  """The rows of a block.

  Attributes:
    table: Those that can be used, as `rows.row_schema` says.
    counts: What a `reports.Report` counts of all of them, by kind and reason.
  """

  table: pa.Table
  counts: dict[tuple[str, str], int]

  @property
  def refused(self) -> dict[str, int]:
    """How many rows cannot be used, by reason."""
    return {reason: number for (kind, reason), number in self.counts.items() if kind == reports.QUARANTINED}


def read_block(
    block: readers.Block, part: readers.Part, declaration: declarations.Declaration, key: bytes
) -> BlockRows:
  """Reads the rows of a block.

  Args:
    block: Raw columns.
    part: What they were read from.
    declaration: What the columns mean.
    key: Of the hash of the ids.
  """
  raw, client = block.table.combine_chunks(), declaration.client
  refusals = _Refusals(raw.num_rows)
  ids = refusals.take('', client_ids.read_ids(_column(raw, client.id)))
  if client.order:
    order = refusals.take('', ordering.read_order(_column(raw, client.order), client.order_type, client.order_pattern))
  else:
    order = pa.array(np.asarray(block.positions, np.int64) + (part.file << _FILE_BITS))
  values = {
      column.name: refusals.take(f':{column.name}', column.kind.read(_column(raw, column.name)))
      for column in declaration.featurizer.columns
  }
  usable = refusals.usable()
  kept = [_keep(array, usable) for array in (ids, order, *values.values())]
  kept[0] = client_ids.hash_ids(kept[0], key)
  table = pa.Table.from_arrays(kept, schema=rows.row_schema(declaration.featurizer.columns))
  return BlockRows(table, refusals.count(block.refused) | {(reports.NAMES, name): 1 for name in block.names})


class _Refusals:
  """Which rows of a block cannot be used; each is counted once, for the first reason found."""

  def __init__(self, rows: int):
    self._counts: collections.Counter[tuple[str, str]] = collections.Counter()
    self._notes: dict[str, np.ndarray] = {}
    self._refused = np.zeros(rows, bool)

  def take(self, suffix: str, values: columns.Values) -> pa.Array:
    for reason, mask in values.refused.items():
      self._counts[reports.QUARANTINED, reason + suffix] += int(np.count_nonzero(mask & ~self._refused))
      self._refused |= mask
    self._notes |= {note + suffix: mask for note, mask in values.notes.items()}
    for value, number in values.found.items():
      self._counts[reports.FOUND, f'{suffix[1:]}={value}'] += number
    return values.values

  def usable(self) -> np.ndarray | None:
    return ~self._refused if self._refused.any() else None

  def count(self, unread: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """Returns all counts, with those of the rows that the reader refused."""
    counts = self._counts.copy()
    for reason, number in unread.items():
      counts[reports.QUARANTINED, reason] += number
    counts[reports.READ, ''] = len(self._refused) + sum(unread.values())
    for note, mask in self._notes.items():
      counts[reports.NOTES, note] += int(np.count_nonzero(mask & ~self._refused))
    return {key: number for key, number in counts.items() if number}


def _column(table: pa.Table, name: str) -> pa.Array:
  column = table[name]
  return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _keep(array: pa.Array, usable: np.ndarray | None) -> pa.Array:
  return array if usable is None else array.filter(pa.array(usable))
