"""From the raw columns of a file to rows: the client's hashed id, its place in the client's order, what it says."""

import numpy as np
import pyarrow as pa

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


def read_block(
    block: readers.Block, part: readers.Part, declaration: declarations.Declaration, key: bytes
) -> tuple[pa.Table, dict[str, int]]:
  """Reads the rows of a block.

  Args:
    block: Raw columns.
    part: What they were read from.
    declaration: What the columns mean.
    key: Of the hash of the ids.

  Returns:
    The rows that can be used, as `rows.row_schema` says; and how many cannot, by reason.
  """
  raw, client = block.table.combine_chunks(), declaration.client
  refusals = _Refusals(raw.num_rows)
  ids = refusals.note('', client_ids.read_ids(_column(raw, client.id)))
  if client.order:
    order = refusals.note('', ordering.read_order(_column(raw, client.order), client.order_type))
  else:
    order = pa.array(np.asarray(block.positions, np.int64) + (part.file << _FILE_BITS))
  values = {
      column.name: refusals.note(f':{column.name}', column.kind.read(_column(raw, column.name)))
      for column in declaration.featurizer.columns
  }
  usable = refusals.usable()
  kept = [_keep(array, usable) for array in (ids, order, *values.values())]
  kept[0] = client_ids.hash_ids(kept[0], key)
  refused = dict(block.refused)
  for reason, number in refusals.counts.items():
    refused[reason] = refused.get(reason, 0) + number
  return pa.Table.from_arrays(kept, schema=rows.row_schema(declaration.featurizer.columns)), refused


class _Refusals:
  """Which rows of a block cannot be used; each is counted once, for the first reason found."""

  def __init__(self, rows: int):
    self.counts: dict[str, int] = {}
    self._refused = np.zeros(rows, bool)

  def note(self, suffix: str, values: columns.Values) -> pa.Array:
    for reason, mask in values.refused.items():
      number = int(np.count_nonzero(mask & ~self._refused))
      if number:
        self.counts[reason + suffix] = self.counts.get(reason + suffix, 0) + number
      self._refused |= mask
    return values.values

  def usable(self) -> np.ndarray | None:
    return ~self._refused if self._refused.any() else None


def _column(table: pa.Table, name: str) -> pa.Array:
  column = table[name]
  return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _keep(array: pa.Array, usable: np.ndarray | None) -> pa.Array:
  return array if usable is None else array.filter(pa.array(usable))
