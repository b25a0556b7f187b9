"""Columns of numbers as a declaration names them: one number a row, or a list of as many in each row."""

from collections.abc import Sequence
import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import columns

# Beyond any model for a phone; a slip of the keyboard should not cost all memory.
_MAX_LENGTH = 1 << 16
# What stands around a list that is text, and between its numbers.
_AROUND, _BETWEEN = '[]() \t\r\n', r'[,;\s]+'


@dataclasses.dataclass(frozen=True)
class Numbers(columns.Kind):
  """A list of numbers, as one or as text such as `[1, 2.5]` or `1 2.5`: as many doubles, as their bytes.

  Refuses what is `missing`, as a whole or in part, `not_a_list`, of the `wrong_length`, and what a number is refused
  for.

  Attributes:
    length: How many numbers there are.
    missing: Stands in for each number of a list that is null, and for one that is; without it such a row is refused.
  """

  length: int
  missing: float | None = None

  @property
  def arrow_type(self) -> pa.DataType:
    return pa.binary(8 * self.length)

  def read(self, values: pa.Array | pa.ChunkedArray) -> columns.Values:
    lists = _to_lists(casts.unwrap(values))
    missing = casts.is_null(lists)
    is_list = pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)
    if not is_list:
      return columns.Values(self._pack(np.zeros((len(lists), self.length))), _refused(missing, not_a_list=~missing))
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy()
    fits = lengths == self.length
    read = columns.Number(self.missing).read(lists.filter(pa.array(fits)).flatten())
    numbers = np.zeros((len(lists), self.length))
    numbers[fits] = read.values.to_numpy(zero_copy_only=False).reshape(-1, self.length)
    if self.missing is not None:
      numbers[missing], missing = self.missing, np.zeros_like(missing)
    reasons = {'wrong_length': ~fits & (lengths >= 0)}
    refused = np.zeros(len(lists), bool)
    for reason, mask in read.refused.items():
      # A row has one reason.
      rows = np.zeros(len(lists), bool)
      rows[fits] = mask.reshape(-1, self.length).any(axis=1)
      reasons[reason] = rows & ~refused
      refused |= rows
    missing |= reasons.pop('missing', np.zeros(len(lists), bool))
    return columns.Values(self._pack(np.nan_to_num(numbers)), _refused(missing, **reasons))

  def _pack(self, numbers: np.ndarray) -> pa.Array:
    content = pa.py_buffer(np.ascontiguousarray(numbers, np.float64))
    return pa.FixedSizeBinaryArray.from_buffers(self.arrow_type, len(numbers), [None, content])


@dataclasses.dataclass(frozen=True)
class NumberColumn:
  """A column of numbers.

  Attributes:
    column: Its name.
    missing: Stands in for a number that is not there, before scaling; without it such a row is refused.
    length: How many numbers a row has there, as a list; 0 if it is one that is no list.
  """

  column: str
  missing: float | None = None
  length: int = 0

  def __post_init__(self) -> None:
    if not 0 <= self.length <= _MAX_LENGTH:
      raise ValueError(f'Expected 0 <= length <= {_MAX_LENGTH}, found {self.length}: say how many numbers a list has.')

  @property
  def names(self) -> tuple[str, ...]:
    """The name of each number, such as `x`, or `x[0]` and `x[1]` of a list."""
    return tuple(f'{self.column}[{place}]' for place in range(self.length)) if self.length else (self.column,)

  @property
  def kind(self) -> columns.Kind:
    """How the column is read."""
    return Numbers(self.length, self.missing) if self.length else columns.Number(self.missing)

  def read(self, table: pa.Table) -> np.ndarray:
    """Returns the numbers of a table of rows: float64 `[rows, numbers]`."""
    if not self.length:
      return table[self.column].to_numpy()[:, np.newaxis]
    chunks = [_doubles(chunk) for chunk in table[self.column].chunks]
    return np.concatenate([np.zeros(0), *chunks]).reshape(-1, self.length)


def parse(declared: Sequence[str | NumberColumn], missing: float | None = None) -> tuple[NumberColumn, ...]:
  """Returns the declared columns, of which a name alone is a column of one number a row.

  Args:
    declared: Names and columns.
    missing: Stands in for what is missing in columns that do not say it themselves.
  """
  named = (NumberColumn(column) if isinstance(column, str) else column for column in declared)
  return tuple(dataclasses.replace(column, missing=missing) if column.missing is None else column for column in named)


def names(number_columns: Sequence[NumberColumn]) -> tuple[str, ...]:
  """Returns the name of each number of the columns."""
  return tuple(name for column in number_columns for name in column.names)


def _doubles(chunk: pa.FixedSizeBinaryArray) -> np.ndarray:
  width, content = chunk.type.byte_width, chunk.buffers()[1]
  return np.frombuffer(content or b'', np.uint8)[chunk.offset * width : (chunk.offset + len(chunk)) * width].view(float)


def _to_lists(values: pa.Array) -> pa.Array:
  """Returns lists of any kind as lists of variable length, and so texts of numbers; anything else as it is."""
  text = casts.to_text(values)
  if text is not None:
    inner = pc.utf8_trim(text, _AROUND)
    is_empty = pc.equal(pc.binary_length(inner), 0)
    return pc.split_pattern_regex(pc.if_else(is_empty, pa.scalar(None, inner.type), inner), _BETWEEN)
  if pa.types.is_fixed_size_list(values.type):
    return values.cast(pa.list_(values.type.value_type))
  return values.cast(pa.list_(pa.float64())) if pa.types.is_null(values.type) else values


def _refused(missing: np.ndarray, **reasons: np.ndarray) -> dict[str, np.ndarray]:
  return {reason: rows for reason, rows in {'missing': missing, **reasons}.items() if rows.any()}
