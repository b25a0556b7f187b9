"""Avro files, read by fastavro."""

from collections.abc import Iterator, Sequence
import dataclasses
from typing import Any, BinaryIO
import zlib

import fastavro
import numpy as np

from pipelines import storage
from pipelines.readers import base
from pipelines.readers import lookup
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
  names = _names_of(schema, {})
  lookup.check(path, columns, list(names), lookup.list_nested(names))
  rows: list[list[Any]] = []
  size = 0
  for block in blocks:
    rows.extend([lookup.take(record, column) for column in columns] for record in block)
    size += block.bytes_.getbuffer().nbytes
    if size >= _RECORDS_BYTES:
      yield rows
      rows, size = [], 0
  if rows:
    yield rows


def _names_of(schema: Any, records: dict[str, Any]) -> lookup.Names:
  """Returns the names of the fields of a record, which may be one among other types.

  Args:
    schema: As fastavro has it.
    records: The records defined so far, by name; added to. None where one is within itself.
  """
  if isinstance(schema, list):
    return {name: below for kind in schema for name, below in _names_of(kind, records).items()}
  if isinstance(schema, str):
    return records.get(schema) or {}
  if schema['type'] != 'record':
    return _names_of(schema['type'], records) if isinstance(schema['type'], dict | list) else {}
  records[schema['name']] = None
  found = {field['name']: _names_of(field['type'], records) for field in schema['fields']}
  records[schema['name']] = found
  return found
