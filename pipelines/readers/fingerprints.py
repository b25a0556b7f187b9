"""Fingerprints of what a row holds besides the columns asked for: two rows are one only if they agree there as well.

A reader that is asked for the column `REST` gives 32 bits a row, 0 where there is nothing else. Null is nothing. Two
different rows of a client that agree in everything that is asked for have the same fingerprint once in 2^32.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import rows as rows_lib

REST = rows_lib.REST
TYPE = pa.uint32()

_SEPARATOR, _NOTHING = (pa.scalar(sign, pa.large_binary()) for sign in (b'\x00', b''))


def without(columns: Sequence[str]) -> list[str]:
  """Returns the columns of the file among those asked for."""
  return [column for column in columns if column != REST]


def of_texts(texts: Iterable[bytes | None]) -> pa.Array:
  """Returns the fingerprint of each text, 0 of none."""
  return pa.array((zlib.crc32(text or b'') for text in texts), TYPE)


def of_columns(columns: Mapping[str, pa.Array | pa.ChunkedArray], rows: int) -> pa.Array:
  """Returns the fingerprint of each row of some columns, whatever their order."""
  if not columns:
    return none(rows)
  values = ((pa.scalar(name.encode(), pa.large_binary()), _to_bytes(columns[name])) for name in sorted(columns))
  named = [pc.binary_join_element_wise(*value, _NOTHING, _SEPARATOR) for value in values]
  # Where all are null, Arrow 25 loses rows if it is told to skip them.
  return of_texts(pc.binary_join_element_wise(*named, _NOTHING, null_handling='replace').to_pylist())


def of_row(row: Mapping[str, Any], asked: Sequence[str]) -> int:
  """Returns the fingerprint of a row of Python's values."""
  rest = sorted((name, repr(value)) for name, value in _leaves(row, asked))
  return zlib.crc32(repr(rest).encode(errors='surrogatepass')) if rest else 0


def has_rest(row: Mapping[str, Any], asked: Sequence[str]) -> bool:
  """Whether a row of Python's values has any besides those asked for."""
  return next(_leaves(row, asked), None) is not None


def rest_of(table: pa.Table | pa.StructArray, asked: Sequence[str], start: str = '') -> Iterator[tuple[str, pa.Array]]:
  """Yields the columns and the keys of nested values that were not asked for."""
  for field in table.schema if isinstance(table, pa.Table) else table.type:
    name = start + field.name
    if name in asked:
      continue
    column = table[field.name].combine_chunks() if isinstance(table, pa.Table) else pc.struct_field(table, field.name)
    if pa.types.is_struct(field.type):
      yield from rest_of(column, asked, f'{name}.')
    else:
      yield name, column


def none(rows: int) -> pa.Array:
  """Returns the fingerprints of rows without anything else."""
  return pa.array(np.zeros(rows, np.uint32))


def _leaves(row: Mapping[str, Any], asked: Sequence[str]) -> Iterator[tuple[str, Any]]:
  # No recursion: a line of JSON may be nested as deep as Python's stack.
  pending = [('', row)]
  while pending:
    start, inside = pending.pop()
    for key, value in inside.items():
      name = f'{start}{key}'
      if value is None or name in asked:
        continue
      if isinstance(value, Mapping):
        pending.append((f'{name}.', value))
      else:
        yield name, value


def _to_bytes(column: pa.Array | pa.ChunkedArray) -> pa.Array:
  """Returns the values of a column as bytes, null where there is none."""
  stored = _as_stored(column)
  if pa.types.is_nested(stored.type) or pa.types.is_interval(stored.type):
    values = (None if value is None else repr(value).encode() for value in stored.to_pylist())
    return pa.array(values, pa.large_binary())
  content = casts.to_bytes(stored)
  return stored.cast(pa.large_string()).cast(pa.large_binary()) if content is None else content


def _as_stored(column: pa.Array | pa.ChunkedArray) -> pa.Array:
  """Returns the values as numbers, bytes, and lists and structs of these.

  Python has no value for everything else: for times beyond its own, text that is not UTF-8, two fields of one name.
  """
  array = casts.unwrap(column)
  kind = array.type
  if pa.types.is_struct(kind):
    fields = [_as_stored(field) for field in array.flatten()]
    return pa.StructArray.from_arrays(fields, list(map(str, range(len(fields)))), mask=array.is_null())
  if pa.types.is_fixed_size_list(kind):
    return _as_stored(array.cast(pa.list_(kind.value_type)))
  if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
    inner = _as_stored(array.values)
    of_lists = pa.large_list(inner.type) if pa.types.is_large_list(kind) else pa.list_(inner.type)
    return pa.Array.from_buffers(of_lists, len(array), array.buffers()[:2], offset=array.offset, children=[inner])
  if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
    return array.view(f'int{kind.bit_width}')
  return array.cast(pa.large_binary()) if casts.is_string(kind) else array
