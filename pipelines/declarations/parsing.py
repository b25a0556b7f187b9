"""From the raw columns of a file to rows: the client's hashed id, its place in the client's order, what it says."""

import collections
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import shard_format
from pipelines.declarations import declaration as declarations
from pipelines.readers import base as readers
from pipelines.rows import casts
from pipelines.rows import client_ids
from pipelines.rows import columns
from pipelines.rows import ordering
from pipelines.rows import reports
from pipelines.rows import rows

# Rows of a file have places below 2^44, files below 2^19.
_FILE_BITS = 44


def raw_columns(declaration: declarations.Declaration) -> list[str]:
  """Returns the names of the columns that have to be read."""
  client = declaration.client
  names = [name for name in (client.id, client.order) if name]
  names += [column.name for column in declaration.featurizer.columns]
  return list(dict.fromkeys([*names, *([rows.REST] if client.compares_all else [])]))


def schema_of(declaration: declarations.Declaration) -> pa.Schema:
  """Returns the columns of the rows of a data set."""
  return rows.row_schema(declaration.featurizer.columns, declaration.client.compares_all)


class BlockRows(NamedTuple):
  """The rows of a block.

  Attributes:
    table: Those that can be used, as `rows.row_schema` says.
    bare_ids: Of the clients that have no other rows in the block than refused ones: a table of the column `rows.ID`.
    counts: What a `reports.Report` counts of all of them, by kind and reason.
  """

  table: pa.Table
  bare_ids: pa.Table
  counts: dict[tuple[str, str], int]

  @property
  def refused(self) -> dict[str, int]:
    """How many rows cannot be used, by reason."""
    return self._of(reports.QUARANTINED)

  @property
  def notes(self) -> dict[str, int]:
    """What else is worth knowing, counted."""
    return self._of(reports.NOTES)

  def _of(self, wanted: str) -> dict[str, int]:
    return {reason: number for (kind, reason), number in self.counts.items() if kind == wanted}


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
  # Whose a row of simulated clients is depends on the labels of all rows: `simulated_clients.Assignment` says it later.
  ids = pa.nulls(raw.num_rows, pa.binary(shard_format.ID_BYTES))
  is_named = np.zeros(raw.num_rows, bool)
  if client.id:
    ids = refusals.take('', client_ids.read_ids(_column(raw, client.id)))
    is_named = ~refusals.refused
  if client.order:
    decimal = declaration.reader.decimal if client.order_type == 'number' else '.'
    order_values = casts.with_points(_column(raw, client.order), decimal)
    order = refusals.take('', ordering.read_order(order_values, client.order_type, client.order_pattern))
  else:
    order = pa.array(np.asarray(block.positions, np.int64) + (part.file << _FILE_BITS))
  values = {
    column.name: refusals.take(f':{column.name}', _read(column, raw, declaration.reader.decimal))
    for column in declaration.featurizer.columns
  }
  refused = refusals.refused
  rest = [_column(raw, rows.REST).cast(pa.uint32())] if client.compares_all else []
  kept = [_keep(array, ~refused) for array in (ids, order, *values.values(), *rest)]
  if client.id:
    kept[0] = client_ids.hash_ids(kept[0], key)
  table = pa.Table.from_arrays(kept, schema=schema_of(declaration))
  bare_ids = _find_others(ids, is_named & refused, kept[0], key)
  counts = refusals.count(block) | {(reports.NAMES, name): 1 for name in block.names}
  return BlockRows(table, pa.table({rows.ID: bare_ids}), counts)


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

  @property
  def refused(self) -> np.ndarray:
    """Which rows cannot be used, so far: bool `[rows]`."""
    return self._refused.copy()

  def count(self, block: readers.Block) -> dict[tuple[str, str], int]:
    """Returns all counts, with what the reader counted."""
    counts = self._counts.copy()
    for kind, numbers in ((reports.QUARANTINED, block.refused), (reports.NOTES, block.notes)):
      for reason, number in numbers.items():
        counts[kind, reason] += number
    counts[reports.READ, ''] = len(self._refused) + sum(block.refused.values())
    for note, mask in self._notes.items():
      counts[reports.NOTES, note] += int(np.count_nonzero(mask & ~self._refused))
    return {key: number for key, number in counts.items() if number}


def _find_others(ids: pa.Array, mask: np.ndarray, known: pa.Array, key: bytes) -> pa.Array:
  """Returns the distinct client ids, binary(16), of the rows of a mask, without those that are known."""
  if not mask.any():
    return known[:0]
  found = client_ids.hash_ids(ids.filter(pa.array(mask)), key).unique()
  return found.filter(pc.invert(pc.is_in(found, value_set=known)))


def _column(table: pa.Table, name: str) -> pa.Array:
  column = table[name]
  return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _read(column: columns.Column, raw: pa.Table, decimal: str) -> columns.Values:
  values = _column(raw, column.name)
  is_number = isinstance(column.kind, columns.Number)
  return column.kind.read(casts.with_points(values, decimal) if is_number else values)


def _keep(array: pa.Array, mask: np.ndarray) -> pa.Array:
  return array if mask.all() else array.filter(pa.array(mask))
