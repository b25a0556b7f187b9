"""Rows of a table: numbers and categories, and the class that the row belongs to."""

import dataclasses

import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import classification
from pipelines.rows import columns
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class Category:
  """A column that holds one of some values.

  Attributes:
    column: Its name.
    values: What there is to choose from.
    other: Whether a row with another value is kept, and has a 1 in a place of its own; else it is refused.
    missing: Whether a row without a value is kept, and has a 1 in a place of its own; else it is refused.
  """

  column: str
  values: tuple[str, ...]
  other: bool = False
  missing: bool = False

  @property
  def kind(self) -> columns.Category:
    """How the column is read."""
    return columns.Category(self.values, self.other, self.missing)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(classification.Classification):
  """One row, one example: its scaled numbers, then for each category a 1 at the place of its value and 0 elsewhere.

  The places of a category are those of its values, then one for all others and one for none, if it has them.

  Attributes:
    categories: The columns with categories, in the order of the features.
    missing: Stands in for a number that is not there, before scaling, in columns that do not say it themselves;
      without it such a row is refused.
  """

  categories: tuple[Category, ...] = ()
  missing: float | None = None

  def __post_init__(self) -> None:
    super().__post_init__()
    if not self.numbers and not self.categories:
      raise ValueError('Expected columns to make features of, found none: list numbers or categories.')

  @property
  def schema(self) -> schema_lib.Schema:
    return self.make_schema((self.width + sum(category.kind.places for category in self.categories),))

  @property
  def row_label(self) -> str:
    return self.label

  @property
  def number_columns(self) -> tuple[number_columns.NumberColumn, ...]:
    return number_columns.parse(self.numbers, self.missing)

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    numbers = (columns.Column(column.column, column.kind) for column in self.number_columns)
    categories = (columns.Column(category.column, category.kind) for category in self.categories)
    return (*numbers, *categories, self.label_column)

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    features = np.zeros((rows.table.num_rows, *self.schema.feature.shape), np.float32)
    places = np.arange(rows.table.num_rows)
    features[:, : self.width] = self.read_numbers(rows.table)
    start = self.width
    for category in self.categories:
      features[places, start + rows.table[category.column].to_numpy()] = 1
      start += category.kind.places
    return base.Examples(features, self.read_labels(rows.table), rows.starts, places, places)
