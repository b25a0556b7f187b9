"""Parquet: its row groups are the parts."""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import parquet

from pipelines.execution import storage
from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import parquet_pages
from pipelines.readers import streams
from pipelines.readers import values
from pipelines.rows import casts

# What the file says of its size is not what it unpacks to: a few rows at a time are unpacked and then measured.
_BATCH_ROWS = 1 << 13
_BATCH_BYTES = 64 << 20


class _File(NamedTuple):
  """A file, open."""

  path: str
  source: BinaryIO
  content: parquet.ParquetFile
  chunks: Sequence[Sequence[parquet_pages.Chunk]]


@dataclasses.dataclass(frozen=True)
class Parquet(base.Reader):
  """Reads Parquet files; their columns keep their types."""

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    with _open(path) as opened:
      metadata = opened.content.metadata
      sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    start = size = 0
    for group, group_size in enumerate(sizes):
      if size and size + group_size > streams.PART_BYTES:
        yield base.Part(path, file, start, group)
        start, size = group, 0
      size += group_size
    yield base.Part(path, file, start, len(sizes))

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    with _open(part.path) as file:
      content = file.content
      names = lookup.names_of(content.schema_arrow)
      lookup.check(part.path, columns, content.schema_arrow.names, _list_nested(content.schema_arrow))
      own = fingerprints.without(columns)
      paths = [lookup.find_path(column, names) for column in own]
      rest = list(_list_rest(content.schema_arrow, own)) if len(own) < len(columns) else []
      counts = [content.metadata.row_group(group).num_rows for group in range(content.metadata.num_row_groups)]
      position = sum(counts[: part.start])
      groups = range(part.start, part.stop if part.stop is not None else len(counts))
      batches = _read_batches(file, groups, [*paths, *rest])
      for table in _gather(_unwrap(batch, columns, paths, rest) for batch in batches):
        yield base.Block(*values.number_rows(table, position), {})
        position += table.num_rows


def _read_batches(file: _File, groups: Iterable[int], paths: Sequence[Sequence[str]]) -> Iterator[pa.RecordBatch]:
  """Yields batches of rows, as few as fit into memory: one value of a dictionary may stand in every row."""
  for group in groups:
    metadata = file.content.metadata.row_group(group)
    _check_pages(file, group, paths)
    rows = max(min(metadata.num_rows, _BATCH_ROWS), 1)
    kinds = {'.'.join(path): _fixed_bytes(_find_type(file.content.schema_arrow, path)) for path in paths}
    varied = [path for path in paths if kinds['.'.join(path)] is None]
    fixed = sum(filter(None, kinds.values()))
    widest = fixed
    if rows * metadata.total_byte_size > _BATCH_BYTES:
      widest += sum(_widest(file, group, path) for path in varied)
    if rows * widest <= streams.BLOCK_BYTES:
      yield from file.content.iter_batches(rows, [group], list(kinds))
    else:
      rows = max(min(rows, streams.BLOCK_BYTES // max(fixed, 1)), 1)
      yield from _read_measured(file, group, list(kinds), _measure(file, group, rows, varied, fixed))


def _check_pages(file: _File, group: int, paths: Iterable[Sequence[str]]) -> None:
  starts = tuple('.'.join([*path, '']) for path in paths)
  read = [chunk for chunk in file.chunks[group] if f'{chunk.path}.'.startswith(starts)]
  parquet_pages.check(file.path, file.source, read)


def _read_measured(
  file: _File, group: int, columns: Sequence[str], batch_rows: Iterator[int]
) -> Iterator[pa.RecordBatch]:
  """Yields batches of so many rows: a large value makes those around it small, and no others."""
  batches = None
  for rows in batch_rows:
    batches = batches or file.content.iter_batches(rows, [group], columns)
    # It is looked at for each batch.
    file.content.reader.set_batch_size(rows)
    while rows > 0 and (batch := next(batches, None)):
      yield batch
      rows -= batch.num_rows
  yield from batches or ()


def _measure(file: _File, group: int, rows: int, paths: Sequence[Sequence[str]], fixed: int) -> Iterator[int]:
  """Yields how many rows make a batch each time. They are read as dictionaries, with each large value once."""
  if not paths:
    yield from [rows] * -(-file.content.metadata.row_group(group).num_rows // rows)
    return
  names = ['.'.join(path) for path in paths]
  reader = parquet.ParquetFile(file.source, metadata=file.content.metadata, read_dictionary=names)
  for batch in reader.iter_batches(rows, [group], names):
    ends = np.cumsum(sum((_widths(lookup.take_column(batch, path)) for path in paths), np.full(batch.num_rows, fixed)))
    start = 0
    while start < len(ends):
      before = ends[start - 1] if start else 0
      stop = max(int(np.searchsorted(ends, before + streams.BLOCK_BYTES, 'right')), start + 1)
      yield stop - start
      start = stop


def _widths(values_of: pa.Array) -> np.ndarray:
  """Returns how many bytes each value takes, as far as they come from a dictionary."""
  if not pa.types.is_dictionary(values_of.type) or casts.to_bytes(values_of.dictionary) is None:
    return np.zeros(len(values_of), np.int64)
  lengths = compute.binary_length(values_of.dictionary).take(values_of.indices)
  return compute.fill_null(lengths, 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _find_type(schema: pa.Schema, path: Sequence[str]) -> pa.DataType:
  kind = schema.field(path[0]).type
  for name in path[1:]:
    kind = kind.field(name).type
  return kind


def _widest(file: _File, group: int, path: Sequence[str]) -> int:
  """Returns how many bytes a value of the column may take that takes none in the pages of data."""
  column = '.'.join(path)
  reader = parquet.ParquetFile(file.source, metadata=file.content.metadata, read_dictionary=[column])
  for batch in reader.iter_batches(1, [group], [column]):
    values_of = lookup.take_column(batch, path)
    if pa.types.is_dictionary(values_of.type) and casts.to_bytes(values_of.dictionary) is not None:
      return compute.max(compute.binary_length(values_of.dictionary)).as_py() or 0
  return 0


def _fixed_bytes(kind: pa.DataType) -> int | None:
  """Returns how many bytes each value of a type takes, even a missing one; None if that depends on the value."""
  if pa.types.is_fixed_size_list(kind):
    inner = _fixed_bytes(kind.value_type)
    return None if inner is None else kind.list_size * inner
  if pa.types.is_struct(kind):
    inner_bytes = [_fixed_bytes(field.type) for field in kind.fields]
    return None if None in inner_bytes else sum(filter(None, inner_bytes))
  if pa.types.is_null(kind):
    return 0
  try:
    return max(kind.bit_width // 8, 1)
  except ValueError:
    return None


def _unwrap(
  batch: pa.RecordBatch, columns: Sequence[str], paths: Sequence[Sequence[str]], rest: Sequence[Sequence[str]]
) -> pa.RecordBatch:
  own = zip(fingerprints.without(columns), paths, strict=True)
  arrays = {column: casts.unwrap(lookup.take_column(batch, path)) for column, path in own}
  if fingerprints.REST in columns:
    others = dict(leaf for path in rest for leaf in _list_leaves(repr(path), lookup.take_column(batch, path)))
    arrays[fingerprints.REST] = fingerprints.of_columns(others, batch.num_rows)
  return pa.RecordBatch.from_arrays([arrays[column] for column in columns], list(columns))


def _list_leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
  """Yields a column, or the fields of one of structs by their places, as their names may not be distinct."""
  if pa.types.is_struct(column.type):
    for place, field in enumerate(column.flatten()):
      yield from _list_leaves(f'{name}.{place}', field)
  else:
    yield name, casts.unwrap(column)


def _names_in(kind: pa.DataType) -> list[str]:
  return [field.name for field in kind.fields] if pa.types.is_struct(kind) else []


def _list_nested(fields: pa.Schema | pa.StructType, start: str = '') -> list[str]:
  """Returns the keys of nested values, with dots, as often as they stand there."""
  found = []
  for field in fields:
    found += [start + field.name] if start else []
    found += _list_nested(field.type, f'{start}{field.name}.') if pa.types.is_struct(field.type) else []
  return found


def _list_rest(fields: pa.Schema | pa.StructType, own: Sequence[str], start: str = '') -> Iterator[tuple[str, ...]]:
  """Yields where the columns and the fields are that were not asked for.

  A column that stands there twice is none. Where one field does, its struct is one value.
  """
  names = [field.name for field in fields]
  for field in fields:
    name, inner = start + field.name, _names_in(field.type)
    if name in own or names.count(field.name) > 1:
      continue
    if not inner or len(set(inner)) < len(inner):
      yield (field.name,)
    else:
      yield from ((field.name, *path) for path in _list_rest(field.type, own, f'{name}.'))


def _gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
  """Yields as many batches together as make a block."""
  gathered: list[pa.RecordBatch] = []
  size = 0
  for batch in batches:
    gathered.append(batch)
    size += batch.nbytes
    if size >= streams.BLOCK_BYTES:
      yield pa.Table.from_batches(gathered)
      gathered, size = [], 0
  if gathered:
    yield pa.Table.from_batches(gathered)


@contextlib.contextmanager
def _open(path: str) -> Iterator[_File]:
  with streams.expect_whole(path, (pa.ArrowException, UnicodeDecodeError, KeyError)), storage.open_stream(path) as file:
    head = file.read(contents.HEAD_BYTES)
    file.seek(0)
    if not head.startswith(contents.PARQUET):
      raise streams.wrong_content(path, 'Parquet', contents.name_any(head))
    content = parquet.ParquetFile(file, page_checksum_verification=True)
    # pyarrow raises a KeyError where the footer contradicts itself about the names of columns.
    yield _File(path, file, content, parquet_pages.read_chunks(file))
