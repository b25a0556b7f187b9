"""Parquet: its row groups are the parts."""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import dataclasses
from typing import BinaryIO, NamedTuple

import pyarrow as pa
from pyarrow import compute
from pyarrow import parquet

from pipelines import storage
from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values
from pipelines.rows import casts

# What the file says of its size is not what it unpacks to: a few rows at a time are unpacked and then measured.
_BATCH_ROWS = 1 << 13
_BATCH_BYTES = 64 << 20


class _File(NamedTuple):
  """A file, open."""

  source: BinaryIO
  content: parquet.ParquetFile


@dataclasses.dataclass(frozen=True)
class Parquet(base.Reader):
  """Reads Parquet files; their columns keep their types."""

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    with _open(path) as (_, content):
      metadata = content.metadata
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
      lookup.check(part.path, columns, content.schema_arrow.names, lookup.list_nested(names))
      own = fingerprints.without(columns)
      paths = [lookup.find_path(column, names) for column in own]
      rest = _list_rest(content.schema_arrow, own) if len(own) < len(columns) else []
      counts = [content.metadata.row_group(group).num_rows for group in range(content.metadata.num_row_groups)]
      position = sum(counts[:part.start])
      groups = range(part.start, part.stop if part.stop is not None else len(counts))
      batches = _read_batches(file, groups, [*paths, *rest])
      for table in _gather(_unwrap(batch, columns, paths, rest) for batch in batches):
        yield base.Block(*values.number_rows(table, position), {})
        position += table.num_rows


def _read_batches(file: _File, groups: Iterable[int], paths: Sequence[Sequence[str]]) -> Iterator[pa.RecordBatch]:
  """Yields batches of rows, as few as fit into memory: one value of a dictionary may stand in every row."""
  for group in groups:
    metadata = file.content.metadata.row_group(group)
    rows = min(metadata.num_rows, _BATCH_ROWS)
    kinds = {'.'.join(path): _fixed_bytes(_find_type(file.content.schema_arrow, path)) for path in paths}
    widest = sum(filter(None, kinds.values()))
    if rows * metadata.total_byte_size > _BATCH_BYTES:
      widest += sum(_widest(file, group, path) for path in paths if kinds['.'.join(path)] is None)
    rows = min(rows, max(streams.BLOCK_BYTES // max(widest, 1), 1))
    yield from file.content.iter_batches(max(rows, 1), [group], list(kinds))


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
    others = {'.'.join(path): casts.unwrap(lookup.take_column(batch, path)) for path in rest}
    arrays[fingerprints.REST] = fingerprints.of_columns(others, batch.num_rows)
  return pa.RecordBatch.from_arrays([arrays[column] for column in columns], list(columns))


def _list_rest(schema: pa.Schema, own: Sequence[str]) -> list[tuple[str, ...]]:
  """Returns where the columns are that were not asked for; a name that stands there twice is no column."""
  empty = schema.empty_table()
  once = [name for name in schema.names if schema.names.count(name) == 1]
  rest = fingerprints.rest_of(empty.select(once), own)
  return [(name,) if name in once else tuple(name.split('.')) for name, _ in rest]


def _gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
  """Yields as many batches together as make a block."""
  gathered: list[pa.RecordBatch] = []
  for batch in batches:
    gathered.append(batch)
    if sum(batch.nbytes for batch in gathered) >= streams.BLOCK_BYTES:
      yield pa.Table.from_batches(gathered)
      gathered = []
  if gathered:
    yield pa.Table.from_batches(gathered)


@contextlib.contextmanager
def _open(path: str) -> Iterator[_File]:
  with streams.expect_whole(path, (pa.ArrowException, UnicodeDecodeError)), storage.open_stream(path) as file:
    head = file.read(contents.HEAD_BYTES)
    file.seek(0)
    if not head.startswith(contents.PARQUET):
      raise streams.wrong_content(path, 'Parquet', contents.name_any(head))
    yield _File(file, parquet.ParquetFile(file, page_checksum_verification=True))
