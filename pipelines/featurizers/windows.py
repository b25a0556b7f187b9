"""Time series cut into windows of fixed length, each with the label that most of its rows have."""

import dataclasses

import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import classification
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows(classification.Classification):
  """Windows of `length` rows of a client, one every `stride` rows; an incomplete last one is dropped.

  The label is the one that most rows of the window have; of several that as many have, the first among the classes.

  Attributes:
    length: Rows in a window.
    stride: Rows from the beginning of one to that of the next: below `length` they overlap, above it they leave gaps.
  """

  length: int
  stride: int

  def __post_init__(self) -> None:
    super().__post_init__()
    for name in ('length', 'stride'):
      if getattr(self, name) < 1:
        raise ValueError(f'Expected {name} >= 1, found {getattr(self, name)}.')
    if not self.numbers:
      raise ValueError('Expected columns to make features of, found none: list numbers.')

  @property
  def schema(self) -> schema_lib.Schema:
    return self.make_schema((self.length, self.width))

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    numbers = (columns.Column(column.column, column.kind) for column in self.number_columns)
    return (*numbers, self.label_column)

  @property
  def examples_overlap(self) -> bool:
    return self.stride < self.length

  def weight_needed(self, examples: int) -> int:
    return (examples - 1) * self.stride + self.length

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    counts = np.maximum((np.diff(rows.starts) - self.length) // self.stride + 1, 0)
    starts = np.concatenate([[0], np.cumsum(counts)])
    first_rows = (np.arange(starts[-1]) - np.repeat(starts[:-1], counts)) * self.stride
    first_rows += np.repeat(rows.starts[:-1], counts)
    return base.Examples(
      features=_gather(self.read_numbers(rows.table), first_rows, self.length),
      labels=_most_frequent(self.read_labels(rows.table), first_rows, self.length),
      starts=starts,
      first_row=first_rows,
      last_row=first_rows + self.length - 1,
    )


def _gather(values: np.ndarray, first_rows: np.ndarray, length: int) -> np.ndarray:
  """Returns `[windows, length, columns]`: the rows from each first one on."""
  size = length * values.shape[1]
  if values.size < size:
    return np.empty((0, length, values.shape[1]), values.dtype)
  # Windows of the flattened rows lie in memory as those of the rows do, in one piece each.
  windows = np.lib.stride_tricks.sliding_window_view(values.ravel(), size)[first_rows * values.shape[1]]
  return windows.reshape(len(first_rows), length, values.shape[1])


def _most_frequent(labels: np.ndarray, first_rows: np.ndarray, length: int) -> np.ndarray:
  """Returns the label that most rows of each window have, the smallest of several.

  By running counts, a class at a time: the same work for windows of any length and overlap.
  """
  found, most = np.zeros(len(first_rows), labels.dtype), np.zeros(len(first_rows), np.int64)
  for label in np.unique(labels):
    running = np.concatenate([[0], np.cumsum(labels == label)])
    count = running[first_rows + length] - running[first_rows]
    is_more = count > most
    found[is_more], most[is_more] = label, count[is_more]
  return found
