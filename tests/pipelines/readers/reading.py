"""Reading whole files, for the tests of the readers."""

import collections
from collections.abc import Iterable
import pathlib
from typing import Any, NamedTuple

from pipelines.readers import base


class Read(NamedTuple):
  """All that a reader gives of a file, in the order of the positions."""

  rows: list[tuple[Any, ...]]
  positions: list[int]
  refused: dict[str, int]
  types: list[list[str]]


def gather(blocks: Iterable[base.Block]) -> Read:
  """Returns what the blocks hold."""
  found: list[tuple[int, tuple[Any, ...]]] = []
  refused: collections.Counter[str] = collections.Counter()
  types = []
  for block in blocks:
    rows = zip(*(column.to_pylist() for column in block.table.columns), strict=True)
    found.extend(zip(block.positions.tolist(), rows, strict=True))
    refused.update(block.refused)
    if block.positions.size or block.refused:
      types.append([str(column.type) for column in block.table.columns])
  found.sort(key=lambda row: row[0])
  return Read([row for _, row in found], [position for position, _ in found], dict(refused), types)


def notes(blocks: Iterable[base.Block]) -> dict[str, int]:
  """Returns what the blocks note."""
  found: collections.Counter[str] = collections.Counter()
  for block in blocks:
    found.update(block.notes)
  return dict(found)


def read(reader: base.Reader, path: str | pathlib.Path, *columns: str) -> Read:
  """Returns what a file holds, read part after part."""
  return gather(block for part in reader.parts(str(path), 0) for block in reader.read(part, columns))
