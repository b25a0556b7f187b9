"""A featurizer whose examples can be read: one row, one example, its number the row's."""

import dataclasses

import numpy as np
import pyarrow as pa

from contracts import schema
from pipelines.featurizers import base
from pipelines.rows import client_ids
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib

KEY = b'a key for tests'


class _Integer(columns.Kind):
  arrow_type = pa.int64()

  def read(self, values: pa.Array) -> columns.Values:
    if not pa.types.is_integer(values.type):
      return columns.Values(pa.nulls(len(values), pa.int64()), {'not_an_integer': np.ones(len(values), bool)})
    return columns.Values(values.cast(pa.int64()), {'missing': values.is_null().to_numpy(zero_copy_only=False)})


@dataclasses.dataclass(frozen=True)
class Numbers(base.Featurizer):
  """Every `stride`-th row is an example that draws on this row and the `reach` rows after it."""

  column: str = 'number'
  stride: int = 1
  reach: int = 0

  schema = schema.Schema('numbers', schema.Feature('number', 'int64', ()), schema.Feature('label', 'int8', ()), ('a',))

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return (columns.Column(self.column, _Integer()),)

  @property
  def examples_overlap(self) -> bool:
    return self.reach >= self.stride

  def weight_needed(self, examples: int) -> int:
    return (examples - 1) * self.stride + 1 + self.reach

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    sizes = np.diff(rows.starts)
    counts = np.maximum(0, (sizes - self.reach - 1) // self.stride + 1)
    first = np.concatenate([np.arange(n) * self.stride + start for n, start in zip(counts, rows.starts, strict=False)])
    first = first.astype(np.int64)
    numbers = rows.table[self.column].to_numpy()[first]
    starts = np.concatenate([[0], np.cumsum(counts)])
    return base.Examples(numbers, np.zeros(len(first), np.int8), starts, first, first + self.reach)


def client_id(name: str) -> bytes:
  return client_ids.hash_id(name, KEY)


def make_rows(*rows: tuple[str, int, int]) -> pa.Table:
  """Returns a table of rows from (user, order, number)."""
  users, orders, numbers = zip(*rows, strict=True)
  ids = client_ids.hash_ids(pa.array(users), KEY)
  arrays = [ids, pa.array(orders, pa.int64()), pa.array(numbers, pa.int64())]
  return pa.Table.from_arrays(arrays, schema=rows_lib.row_schema(Numbers().columns))
