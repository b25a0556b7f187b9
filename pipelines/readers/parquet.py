"""Parquet: its row groups are the parts."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses

import pyarrow as pa
from pyarrow import parquet

from pipelines import storage
from pipelines.readers import base
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values
from pipelines.rows import casts

# What the file says of its size is not what it unpacks to: a few rows at a time are unpacked and then measured.
_BATCH_ROWS = 1 << 13


@dataclasses.dataclass(frozen=True)
class Parquet(base.Reader):
  """Reads Parquet files; their columns keep their types."""

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    with _open(path) as content:
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
    with _open(part.path) as content:
      names = lookup.names_of(content.schema_arrow)
      lookup.check(part.path, columns, content.schema_arrow.names, lookup.list_nested(names))
      paths = [lookup.find_path(column, names) for column in columns]
      counts = [content.metadata.row_group(group).num_rows for group in range(content.metadata.num_row_groups)]
      position = sum(counts[:part.start])
      groups = range(part.start, part.stop if part.stop is not None else len(counts))
      batches = content.iter_batches(_BATCH_ROWS, list(groups), ['.'.join(path) for path in paths])
      for table in _gather(_unwrap(batch, columns, paths) for batch in batches):
        yield base.Block(*values.number_rows(table, position), {})
        position += table.num_rows


def _unwrap(batch: pa.RecordBatch, columns: Sequence[str], paths: Sequence[Sequence[str]]) -> pa.RecordBatch:
  arrays = [casts.unwrap(lookup.take_column(batch, path)) for path in paths]
  return pa.RecordBatch.from_arrays(arrays, list(columns))


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
def _open(path: str) -> Iterator[parquet.ParquetFile]:
  with streams.expect_whole(path, (pa.ArrowException,)), storage.open_stream(path) as file:
    yield parquet.ParquetFile(file, page_checksum_verification=True)
