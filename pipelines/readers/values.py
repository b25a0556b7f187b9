"""From Python's values to tables, for the rows that no columnar reader takes: each value keeps its type."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.readers import base

_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}
_NULL = type(None)
_SURROGATE = re.compile('[\ud800-\udfff]')


class Rows(NamedTuple):
  """Rows whose columns have one type each, and the position of each row."""

  table: pa.Table
  positions: np.ndarray


def number_rows(table: pa.Table, start: int) -> Rows:
  """Returns the rows with positions from `start`."""
  return Rows(table, np.arange(start, start + table.num_rows, dtype=np.int64))


def make_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], positions: np.ndarray) -> Iterator[Rows]:
  """Yields the rows, those of the same types together, in their order.

  Lists and objects become what pyarrow makes of them, or null if it makes nothing of them.

  Args:
    columns: Their names.
    rows: A value for each column; whole numbers fit into 64 bits.
    positions: int64 `[rows]`.
  """
  values = list(zip(*rows, strict=True))
  kinds = [[_find_kind(value) for value in column] for column in values]
  mixed = [column for column in kinds if len(set(column) - {_NULL}) > 1]
  groups: dict[tuple[Any, ...], list[int]] = {}
  for row in range(len(rows)):
    groups.setdefault(tuple(column[row] for column in mixed), []).append(row)
  for group in groups.values():
    arrays = []
    for column, found in zip(values, kinds, strict=True):
      arrays.append(_make_array([column[row] for row in group], [found[row] for row in group]))
    yield Rows(pa.Table.from_arrays(arrays, names=list(columns)), positions[group])


def _find_kind(value: Any) -> type | pa.DataType:
  """Returns the type of a value, pyarrow's for a list or an object, whose own says nothing of what is in it."""
  if not isinstance(value, list | dict):
    return type(value)
  try:
    return pa.array([value]).type
  except (pa.ArrowException, OverflowError, UnicodeError):
    return _NULL


def _make_array(values: list[Any], kinds: list[type | pa.DataType]) -> pa.Array:
  """Returns values of one kind, or null, as an array."""
  kind = next((kind for kind in kinds if kind is not _NULL), _NULL)
  if kind is _NULL:
    return pa.nulls(len(values))
  present = [value if found == kind else None for value, found in zip(values, kinds, strict=True)]
  if kind is str:
    # JSON can escape half of a character, which UTF-8 cannot hold: it becomes U+FFFD, unknown like any other.
    present = [value and _SURROGATE.sub('\ufffd', value) for value in present]
  return pa.array(present, kind if isinstance(kind, pa.DataType) else _TYPES.get(kind))


def make_blocks(columns: Sequence[str], found: Iterable[Rows], refused: Mapping[str, int]) -> Iterator[base.Block]:
  """Yields a block for the rows of each schema; the first one has the refused rows."""
  groups: dict[tuple[pa.DataType, ...], list[Rows]] = {}
  for rows in filter(lambda rows: rows.table.num_rows, found):
    groups.setdefault(tuple(rows.table.schema.types), []).append(rows)
  if refused and not groups:
    empty = pa.table({column: pa.nulls(0) for column in columns})
    groups[()] = [Rows(empty, np.zeros(0, np.int64))]
  for group in groups.values():
    table = pa.concat_tables([rows.table for rows in group])
    yield base.Block(table, np.concatenate([rows.positions for rows in group]), refused)
    refused = {}


def pack_images(images: np.ndarray) -> pa.Array:
  """Returns uint8 `[rows, ...]` as an array of bytes."""
  rows, size = len(images), int(np.prod(images.shape[1:]))
  offsets = pa.py_buffer(np.arange(0, (rows + 1) * size, size, dtype=np.int32))
  return pa.Array.from_buffers(pa.binary(), rows, [None, offsets, pa.py_buffer(np.ascontiguousarray(images))])
