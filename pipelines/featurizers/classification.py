"""What the featurizers of numbers with one label an example have in common."""

import dataclasses
from typing import Any, Self

import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import checks
from pipelines.featurizers import labels
from pipelines.rows import columns
from pipelines.rows import number_columns
from pipelines.statistics import base as learning
from pipelines.statistics import scaling as scaling_lib

# A number larger than this, or smaller than one by it, is far from 1: a year, an income, a share of a thousandth.
_FAR = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(base.Featurizer):
  """Makes float32 examples of numbers, scaled.

  Attributes:
    numbers: The columns with numbers, in the order of the features: a name, or a table that says more.
    label: The column with the label.
    classes: What the label can be.
    scaling: How the numbers are brought to a like size.
  """

  numbers: tuple[str | number_columns.NumberColumn, ...]
  label: str
  classes: tuple[str, ...]
  scaling: scaling_lib.Scaling = dataclasses.field(default_factory=scaling_lib.Scaling)

  def __post_init__(self) -> None:
    checks.check_columns(self.columns)
    self.scaling.check(number_columns.names(self.number_columns))

  @property
  def learner(self) -> learning.Learner | None:
    return self.scaling.learner(self.number_columns)

  def with_learned(self, value: Any) -> Self:
    return dataclasses.replace(self, scaling=self.scaling.with_learned(value))

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return [learning.free_entry('classes', 'declared'), *self.scaling.entries()]

  @property
  def number_columns(self) -> tuple[number_columns.NumberColumn, ...]:
    """The columns with numbers, and what stands in for those that are missing."""
    return number_columns.parse(self.numbers)

  @property
  def width(self) -> int:
    """How many numbers a row has."""
    return len(number_columns.names(self.number_columns))

  @property
  def label_column(self) -> columns.Column:
    """The column with the label, and how to read it."""
    return columns.Column(self.label, columns.Category(self.classes))

  def make_schema(self, shape: tuple[int, ...]) -> schema_lib.Schema:
    """Returns the schema of examples with features of that shape."""
    return schema_lib.Schema(
      task='classification',
      feature=schema_lib.Feature('features', 'float32', shape),
      label=labels.feature('label', self.classes),
      classes=self.classes,
    )

  def read_numbers(self, table: pa.Table) -> np.ndarray:
    """Returns the numbers of each row, scaled: float32 `[rows, numbers]`."""
    values, place = np.empty((table.num_rows, self.width), np.float32), 0
    for column in self.number_columns:
      stop = place + len(column.names)
      values[:, place:stop] = column.read(table)
      place = stop
    return self.scaling.apply(values)

  def count_unscaled(self, rows: pa.Table) -> dict[str, int]:
    if self.scaling.source != 'none':
      return {}
    return {column.column: _count_far(column.read(rows)) for column in self.number_columns}

  def read_labels(self, table: pa.Table) -> np.ndarray:
    """Returns the label of each row."""
    return labels.read(table[self.label], self.schema.label)


def _count_far(numbers: np.ndarray) -> int:
  """Returns how many rows have more numbers far from 1 than others."""
  sizes = np.abs(numbers)
  is_far = (sizes > _FAR) | (sizes > 0) & (sizes < 1 / _FAR)
  return int(np.count_nonzero(2 * is_far.sum(axis=1) > numbers.shape[1]))
