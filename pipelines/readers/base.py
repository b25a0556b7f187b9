"""What every input format gives: a file cut into parts that are read apart, each as blocks of raw columns."""

import abc
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import types
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

# Notes of blocks.
LINES_JOINED = 'lines_joined_by_quotes'
BACKSLASHES = 'backslashes_before_quotes'


class DamagedFile(ValueError):
  """A file that cannot be read to its end, or has not the form it should have; says so in one line for the user."""


class MissingColumn(DamagedFile):
  """A file without one of the columns asked for.

  Attributes:
    found: The columns that it has.
  """

  def __init__(self, message: str, found: Sequence[str]):
    super().__init__(message)
    self.found = found


@dataclasses.dataclass(frozen=True)
class Part:
  """A part of an input file that one worker reads.

  Attributes:
    path: The file, on any filesystem that Beam knows.
    file: Its place among the sorted input files.
    start: Where the part begins, in the units of its format: a byte, a row group.
    stop: Where it ends, or None for the end of the file.
  """

  path: str
  file: int
  start: int = 0
  stop: int | None = None


class Block(NamedTuple):
  """Some of the rows of a part.

  Attributes:
    table: The columns asked for, of whatever types the file gives them; null where a row has no such value.
    positions: int64 `[rows]`: grows through the whole file, whatever its parts.
    refused: Rows that could not be read and are not in `table`, by reason. Blank lines are no rows.
    names: Of a format without a list of columns, those asked for that some row has; if any is missing, other names too.
    notes: What else is worth knowing of the file, counted, by what it is.
  """

  table: pa.Table
  positions: np.ndarray
  refused: Mapping[str, int]
  names: frozenset[str] = frozenset()
  notes: Mapping[str, int] = types.MappingProxyType({})


class Reader(abc.ABC):
  """Reads one input format. Readers are frozen dataclasses; their fields are what a declaration says in `[input]`.

  Attributes:
    lists_columns: Whether a file of the format lists its columns; else each row has its own names.
    decimal: What stands before the decimals of numbers in text.
  """

  lists_columns: ClassVar[bool] = True
  decimal: str = '.'

  @abc.abstractmethod
  def parts(self, path: str, file: int) -> Iterator[Part]:
    """Cuts a file into parts; looks at its size and its footer at most.

    Raises:
      DamagedFile: If that much cannot be read.
    """

  @abc.abstractmethod
  def read(self, part: Part, columns: Sequence[str]) -> Iterator[Block]:
    """Reads a part in blocks of bounded size.

    Raises:
      DamagedFile: If the file is damaged or has no such column.
    """
