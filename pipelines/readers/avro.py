"""Avro files, read by fastavro."""

from collections.abc import Iterator, Sequence
import dataclasses
import itertools
from typing import Any

import fastavro
from fastavro import _read_py
import numpy as np
import pyarrow as pa

from pipelines.execution import storage
from pipelines.readers import avro_blocks
from pipelines.readers import base
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values

# Of unpacked records: Python's values take several times as much.
_RECORDS_BYTES = 4 << 20
# What fastavro raises over damaged content: it has no one name for it.
_ERRORS = (
  ValueError,
  LookupError,
  TypeError,
  ArithmeticError,
  pa.ArrowException,
  fastavro.schema.SchemaParseException,
)


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
      try:
        for rows in _read_rows(avro_blocks.Blocks(file, part.path), part.path, columns):
          positions = np.arange(position, position + len(rows), dtype=np.int64)
          yield from values.make_blocks(columns, values.make_rows(columns, rows, positions), {})
          position += len(rows)
      except (avro_blocks.UnsafeFile, RecursionError) as error:
        found = error if isinstance(error, ValueError) else 'values too deep within values: write flat records'
        raise base.DamagedFile(f'Expected an Avro file that can be read, found {part.path} with {found}.') from error


def _read_rows(content: avro_blocks.Blocks, path: str, columns: Sequence[str]) -> Iterator[list[list[Any]]]:
  # The compiled reader ends the process where values are too deep.
  blocks: Any = (_read_py if content.contains_itself else fastavro).block_reader(content)
  schema = blocks.writer_schema
  if not isinstance(schema, dict) or schema['type'] != 'record':
    raise base.DamagedFile(f'Expected records in {path}, found other values: write records with named fields.')
  names = _names_of(schema, {})
  lookup.check(path, columns, list(names), lookup.list_nested(names))
  rows: list[list[Any]] = []
  size = 0
  for block in blocks:
    records, block_bytes = iter(block), block.bytes_.getbuffer().nbytes
    # A large block comes in pieces: its values take more memory than its bytes.
    piece = max(block.num_records * _RECORDS_BYTES // max(block_bytes, _RECORDS_BYTES, 1), 1)
    while found := _take(records, piece, columns):
      rows.extend(found)
      size += block_bytes * len(found) // max(block.num_records, 1)
      if size >= _RECORDS_BYTES:
        yield rows
        rows, size = [], 0
  if rows:
    yield rows


def _take(records: Iterator[Any], number: int, columns: Sequence[str]) -> list[list[Any]]:
  own = fingerprints.without(columns)
  if len(own) == len(columns):
    return [[lookup.take(record, column) for column in own] for record in itertools.islice(records, number)]
  return [
    [
      lookup.take(record, column) if column != fingerprints.REST else fingerprints.of_row(record, own)
      for column in columns
    ]
    for record in itertools.islice(records, number)
  ]


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
