"""Avro files, read by fastavro."""

from collections.abc import Iterator, Sequence
import dataclasses
from typing import Any, BinaryIO
import zlib

import fastavro
import numpy as np

from pipelines import storage
from pipelines.readers import base
from pipelines.readers import streams
from pipelines.readers import values

# Of unpacked records: Python's values take several times as much.
_RECORDS_BYTES = 4 << 20
_ERRORS = (ValueError, LookupError, TypeError, ArithmeticError, MemoryError, zlib.error)


@dataclasses.dataclass(frozen=True)
class Avro(base.Reader):
  """Reads Avro files of records.

  A file that is cut exactly where a block ends looks whole: the format does not say how many there are.
  """

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    yield base.Part(path, file)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    position = 0
    with streams.expect_whole(part.path, _ERRORS), storage.open_stream(part.path) as file:
      for rows in _read_rows(file, part.path, columns):
        positions = np.arange(position, position + len(rows), dtype=np.int64)
        yield from values.make_blocks(columns, values.make_rows(columns, rows, positions), {})
        position += len(rows)


def _read_rows(file: BinaryIO, path: str, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
  blocks: Any = fastavro.block_reader(file)
  schema = blocks.writer_schema
  if not isinstance(schema, dict) or schema['type'] != 'record':
    raise streams.damaged(path, 'values that are no records')
  streams.check_columns(path, columns, [field['name'] for field in schema['fields']])
  rows: list[list[Any]] = []
  size = 0
  for block in blocks:
    rows.extend([record[column] for column in columns] for record in block)
    size += block.bytes_.getbuffer().nbytes
    if size >= _RECORDS_BYTES:
      yield rows
      rows, size = [], 0
  if rows:
    yield rows
