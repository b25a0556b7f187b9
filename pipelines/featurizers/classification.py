"""What the featurizers of numbers with one label an example have in common."""

import dataclasses
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipelines import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import checks
from pipelines.featurizers import labels
from pipelines.learning import base as learning
from pipelines.learning import scaling as scaling_lib
from pipelines.rows import columns

# A number larger than this, or smaller than one by it, is far from 1: a year, an income, a share of a thousandth.
_FAR = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(base.Featurizer):
  """Makes float32 examples of numbers, scaled.

  Attributes:
    numbers: The columns with numbers, in the order of the features.
    label: The column with the label.
    classes: What the label can be.
    scaling: How the numbers are brought to a like size.
  """

  numbers: tuple[str, ...]
  label: str
  classes: tuple[str, ...]
  scaling: scaling_lib.Scaling = dataclasses.field(default_factory=scaling_lib.Scaling)

  def __post_init__(self) -> None:
    checks.check_columns(self.columns)
    self.scaling.check(self.numbers)

  @property
  def learner(self) -> learning.Learner | None:
    return self.scaling.learner(self.numbers)

  def with_learned(self, value: Any) -> Self:
    return dataclasses.replace(self, scaling=self.scaling.with_learned(value))

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return [learning.free_entry('classes', 'declared'), *self.scaling.entries()]

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
    values = np.empty((table.num_rows, len(self.numbers)), np.float32)
    for place, name in enumerate(self.numbers):
      values[:, place] = table[name].to_numpy()
    return self.scaling.apply(values)

  def count_unscaled(self, rows: pa.Table) -> dict[str, int]:
    if self.scaling.source != 'none':
      return {}
    return {name: _count_far(rows[name].to_numpy()) for name in self.numbers}

  def read_labels(self, table: pa.Table) -> np.ndarray:
    """Returns the label of each row."""
    return labels.read(table[self.label], self.schema.label)


def _count_far(numbers: np.ndarray) -> int:
  sizes = np.abs(numbers)
  return int(np.count_nonzero((sizes > _FAR) | (sizes > 0) & (sizes < 1 / _FAR)))
