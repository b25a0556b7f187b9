"""Columns that stand in the names of folders, as in `day=2020-01-02/part-0.parquet`."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
import hashlib
import re
from typing import TypeAlias
import urllib.parse

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.execution import storage
from pipelines.readers import base
from pipelines.readers import fingerprints

# Values by the name of their column.
Folders: TypeAlias = dict[str, str | None]

# What Hive writes for no value.
_NULL = '__HIVE_DEFAULT_PARTITION__'


def find(path: str) -> Folders:
  """Returns the columns that the folders of a path name, and their value."""
  pairs = (folder.partition('=') for folder in storage.absolute(path).split('/')[:-1] if '=' in folder)
  return {
    urllib.parse.unquote(name): None if value == _NULL else urllib.parse.unquote(value)
    for name, _, value in pairs
    if name
  }


def describe(paths: Iterable[str], columns: Collection[str]) -> list[tuple[Folders, int]]:
  """Returns what the folders add to the content of files, or nothing if they add nothing.

  Args:
    paths: The files.
    columns: Those asked for.

  Returns:
    Of each file the columns asked for, and a number: two files have the same one if their folders agree in all others.
    Without the column `fingerprints.REST` the others do not count, and all numbers are 0.
  """
  groups: dict[tuple[tuple[str, str | None], ...], int] = {}
  found = []
  for path in paths:
    asked, others = _split(find(path), columns)
    found.append((asked, groups.setdefault(tuple(sorted(others.items())), len(groups))))
  return found if any(asked or number for asked, number in found) else []


def hide(text: str, column: str | None) -> str:
  """Returns a text in which the paths do not show the values of a column, such as the one of the client ids.

  Args:
    text: Any, with paths in it.
    column: Whose folders are shown as `column=…`; None for no column.
  """
  if column is None:
    return text
  names = {column, urllib.parse.quote(column), urllib.parse.quote(column, safe='')}
  pattern = f'({"|".join(map(re.escape, sorted(names)))})=[^/\n]*(?=/)'
  return re.sub(pattern, r'\1=…', text, flags=re.IGNORECASE)


def read(reader: base.Reader, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
  """Reads a part; columns that the file does not have are those of its folders.

  A file has a column if it lists it, or, in a format without such a list, if a row of the part has it. All values are
  the file's then, even where a row has none: a folder that happens to be called `user=x` changes nothing.

  Folders that are not asked for count in the column `fingerprints.REST`, as other columns of the file do.

  Raises:
    DamagedFile: If the file is damaged, or if neither has one of the columns.
  """
  asked, others = _split(find(part.path), columns)
  lacking = _find_lacking(reader, part, list(asked)) if asked else set()
  own = [column for column in columns if column not in lacking]
  if not fingerprints.without(own):  # Nothing of the file is wanted: it does not hold these rows.
    own, lacking = list(columns), set()
  given = {column: asked[column] for column in lacking}
  for block in reader.read(part, own):
    yield _add(block, columns, given, others) if given or others else block


def _split(folders: Folders, columns: Collection[str]) -> tuple[Folders, Folders]:
  """Returns the columns of the folders that were asked for, and the others that count."""
  asked = {name: value for name, value in folders.items() if name in columns}
  others = folders.keys() - asked.keys() if fingerprints.REST in columns else ()
  return asked, {name: folders[name] for name in sorted(others)}


def _find_lacking(reader: base.Reader, part: base.Part, columns: Sequence[str]) -> set[str]:
  """Returns which of some columns the file does not have."""
  lacking = set(columns)
  try:
    for block in reader.read(part, columns):
      lacking -= set(columns) if reader.lists_columns else block.names
      if not lacking:
        break
  except base.MissingColumn as error:
    return lacking.difference(error.found)
  return lacking


def _add(
  block: base.Block, columns: Sequence[str], given: Mapping[str, str | None], others: Mapping[str, str | None]
) -> base.Block:
  table = block.table
  arrays = {column: table[column] for column in table.column_names}
  for column, value in given.items():
    arrays[column] = pa.repeat(pa.scalar(value, pa.string()), table.num_rows)
  if others:
    # Not the sum that the rows have: a row and its folder could make up for another pair.
    digest = hashlib.blake2b(repr(sorted(others.items())).encode(), digest_size=fingerprints.TYPE.byte_width).digest()
    folder = pa.scalar(int.from_bytes(digest), fingerprints.TYPE)
    arrays[fingerprints.REST] = pc.bit_wise_xor(arrays[fingerprints.REST].cast(fingerprints.TYPE), folder)
  whole = pa.Table.from_arrays([arrays[column] for column in columns], list(columns))
  # A format that lists its columns says so itself if one is missing, and names none here.
  return block._replace(table=whole, names=block.names | given.keys() if block.names else block.names)
