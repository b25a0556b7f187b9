"""Images with a class each: handwriting by the person who wrote it."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import checks
from pipelines.featurizers import labels
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base as learning

# The smallest that the task's model can take: models/tasks/handwriting.py refuses a smaller one too, but later.
_MIN_SIZE = 10


@dataclasses.dataclass(frozen=True)
class Image(base.Featurizer):
  """One row, one example: a grey image, ink on white paper (255), and the class it belongs to.

  Attributes:
    column: The column with the image.
    label: The column with the class.
    classes: What the label can be.
    height: Of the images, in pixels.
    width: Likewise.
    invert: Whether the images are white on black, and are to be turned into black on white.
  """

  column: str
  label: str
  classes: tuple[str, ...]
  height: int = 28
  width: int = 28
  invert: bool = False

  def __post_init__(self) -> None:
    checks.check_columns(self.columns)
    if min(self.height, self.width) < _MIN_SIZE:
      raise ValueError(
        f'Expected images of at least {_MIN_SIZE}x{_MIN_SIZE}, found {self.height}x{self.width}: enlarge them.'
      )

  @property
  def schema(self) -> schema_lib.Schema:
    return schema_lib.Schema(
      task='handwriting',
      feature=schema_lib.Feature('image', 'uint8', (self.height, self.width)),
      label=labels.feature('character', self.classes),
      classes=self.classes,
    )

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    image = columns.Column(self.column, columns.Image(self.height, self.width))
    return (image, columns.Column(self.label, columns.Category(self.classes)))

  @property
  def row_label(self) -> str:
    return self.label

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return [learning.free_entry('classes', 'declared')]

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    shape = self.schema.feature.shape
    chunks = [_pixels(chunk).reshape(-1, *shape) for chunk in rows.table[self.column].chunks]
    features = np.concatenate([np.empty((0, *shape), np.uint8), *chunks])
    if self.invert:
      np.subtract(255, features, out=features)
    places = np.arange(rows.table.num_rows)
    return base.Examples(features, labels.read(rows.table[self.label], self.schema.label), rows.starts, places, places)


def _pixels(images: pa.FixedSizeBinaryArray) -> np.ndarray:
  size = images.type.byte_width
  _, content = images.buffers()
  return np.frombuffer(content or b'', np.uint8)[images.offset * size : (images.offset + len(images)) * size]
