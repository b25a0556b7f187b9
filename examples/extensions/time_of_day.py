"""A kind of example of one's own: the time of day of an event, and which of some classes it is of.

In a declaration:

    [examples]
    kind = "examples.extensions.time_of_day:TimeOfDay"
    hour = "hour"
    label = "activity"
    classes = ["walking", "sitting"]
"""

import dataclasses
import math

import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import labels
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeOfDay(base.Featurizer):
  """One row, one example: the hour as a point on a circle, so that 23.9 is near 0.1.

  Attributes:
    hour: The column with the hour, 0 to 24.
    label: The column with the class.
    classes: What the class can be.
  """

  hour: str
  label: str
  classes: tuple[str, ...]

  @property
  def schema(self) -> schema_lib.Schema:
    return schema_lib.Schema(
      task='classification',
      feature=schema_lib.Feature('features', 'float32', (2,)),
      label=labels.feature('label', self.classes),
      classes=self.classes,
    )

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return columns.Column(self.hour, columns.Number()), columns.Column(self.label, columns.Category(self.classes))

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    angle = rows.table[self.hour].to_numpy() * (2 * math.pi / 24)
    features = np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
    indices = np.arange(rows.table.num_rows)
    found = labels.read(rows.table[self.label], self.schema.label)
    return base.Examples(features, found, rows.starts, indices, indices)
