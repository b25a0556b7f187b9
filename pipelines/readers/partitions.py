"""Columns that stand in the names of folders, as in `day=2020-01-02/part-0.parquet`."""

from collections.abc import Iterator, Mapping, Sequence
import urllib.parse

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.readers import base

# What Hive writes for no value.
_NULL = '__HIVE_DEFAULT_PARTITION__'


def find(path: str) -> dict[str, str | None]:
  """Returns the columns that the folders of a path name, and their value."""
  pairs = (folder.partition('=') for folder in path.split('/')[:-1] if '=' in folder)
  return {
      urllib.parse.unquote(name): None if value == _NULL else urllib.parse.unquote(value)
      for name, _, value in pairs
      if name
  }


def read(reader: base.Reader, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
  """Reads a part; columns that the file does not have are those of its folders.

  A column of the file comes first, so that a folder that happens to be called `user=x` changes nothing.

  Raises:
    DamagedFile: If the file is damaged, or if neither has one of the columns.
  """
  given = {name: value for name, value in find(part.path).items() if name in columns}
  if not given:
    yield from reader.read(part, columns)
    return
  blocks = reader.read(part, columns)
  try:
    first = next(blocks, None)
  except base.MissingColumn as error:
    own = [column for column in columns if column in error.found or column not in given]
    if not own:
      raise
    yield from (_add(block, columns, given) for block in reader.read(part, own))
    return
  if first is not None:
    yield _add(first, columns, given)
    yield from (_add(block, columns, given) for block in blocks)


def _add(block: base.Block, columns: Sequence[str], given: Mapping[str, str | None]) -> base.Block:
  table = block.table
  arrays = [
      _fill(table[column], given.get(column)) if column in table.column_names
      else pa.array([given[column]] * table.num_rows, pa.string())
      for column in columns
  ]  # fmt: skip
  return block._replace(table=pa.Table.from_arrays(arrays, list(columns)), names=block.names | given.keys())


def _fill(values: pa.ChunkedArray, given: str | None) -> pa.ChunkedArray | pa.Array:
  """Returns values with the folder's where there is none: formats without a header do not know their columns."""
  if given is None or not values.null_count:
    return values
  if pa.types.is_null(values.type):
    return pa.array([given] * len(values), pa.string())
  return pc.fill_null(values, given) if values.type == pa.string() else values
