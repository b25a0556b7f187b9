"""Rows of a table: numbers and categories, and the class that the row belongs to."""

import dataclasses

import numpy as np

from pipelines import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import classification
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class Category:
  """A column that holds one of some values.

  Attributes:
    column: Its name.
    values: What there is to choose from.
  """

  column: str
  values: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(classification.Classification):
  """One row, one example: its scaled numbers, then for each category a 1 at the place of its value and 0 elsewhere.

  Attributes:
    categories: The columns with categories, in the order of the features.
    missing: Stands in for a number that is not there, before scaling; without it such a row is refused.
  """

  categories: tuple[Category, ...] = ()
  missing: float | None = None

  def __post_init__(self) -> None:
    super().__post_init__()
    if not self.numbers and not self.categories:
      raise ValueError('Expected columns to make features of, found none: list numbers or categories.')

  @property
  def schema(self) -> schema_lib.Schema:
    return self.make_schema((len(self.numbers) + sum(len(category.values) for category in self.categories),))

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    numbers = (columns.Column(name, columns.Number(self.missing)) for name in self.numbers)
    categories = (columns.Column(category.column, columns.Category(category.values)) for category in self.categories)
    return (*numbers, *categories, self.label_column)

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    features = np.zeros((rows.table.num_rows, *self.schema.feature.shape), np.float32)
    places = np.arange(rows.table.num_rows)
    features[:, : len(self.numbers)] = self.read_numbers(rows.table)
    start = len(self.numbers)
    for category in self.categories:
      features[places, start + rows.table[category.column].to_numpy()] = 1
      start += len(category.values)
    return base.Examples(features, self.read_labels(rows.table), rows.starts, places, places)
