"""Tests of what tables and windows share: the order of the numbers, their scaling, their labels."""

from collections.abc import Sequence
import dataclasses
from typing import Any

from absl.testing import absltest
import numpy as np
import pyarrow as pa

from contracts import guarantees
from contracts import schema as schema_lib
from pipelines.featurizers import table as table_lib
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base as learning
from pipelines.statistics import scaling


class _Learner(learning.Learner):
  """Learns the same from everyone."""

  cost = guarantees.NOTHING

  def __init__(self, columns: Sequence[str | number_columns.NumberColumn]) -> None:
    self.columns = columns

  def contribute(self, rows: rows_lib.ClientRows) -> Any:
    return rows.table.num_rows

  def add(self, first: Any, second: Any) -> Any:
    return first + second

  def release(self, total: Any) -> learning.Release:
    return learning.Release(total, {})


@dataclasses.dataclass(frozen=True)
class _Factor(scaling.Scaling):
  """Multiplies by a number that can be learned."""

  factor: float = 1.0

  def check(self, columns: Sequence[str]) -> None:
    if 'bad' in columns:
      raise ValueError('Expected other columns.')

  def learner(self, columns: Sequence[str | number_columns.NumberColumn]) -> learning.Learner:
    return _Learner(columns)

  def with_learned(self, value: Any) -> '_Factor':
    return dataclasses.replace(self, factor=value)

  def apply(self, values: np.ndarray) -> np.ndarray:
    return values * np.float32(self.factor)

  def entries(self) -> list[dict[str, Any]]:
    return [{'what': 'factor'}]


def _make(numbers: tuple[str, ...] = ('x', 'y')) -> table_lib.Table:
  return table_lib.Table(numbers=numbers, label='kind', classes=('no', 'yes'), scaling=_Factor())


_TABLE = pa.table({'y': [3.0, 4.0], 'kind': pa.array([1, 0], pa.int32()), 'x': [1.0, 2.0], 'z': ['a', 'b']})


class ClassificationTest(absltest.TestCase):
  def test_numbers_in_the_order_of_the_declaration(self) -> None:
    read = _make().read_numbers(_TABLE)
    np.testing.assert_array_equal(read, np.array([[1, 3], [2, 4]], np.float32), strict=True)

  def test_numbers_are_scaled_with_what_was_learned(self) -> None:
    featurizer = _make().with_learned(-0.5)
    np.testing.assert_array_equal(featurizer.read_numbers(_TABLE), np.array([[-0.5, -1.5], [-1, -2]]))
    self.assertEqual(dataclasses.replace(featurizer, scaling=_Factor()), _make())

  def test_the_learner_is_of_the_numbers(self) -> None:
    learner = _make().learner
    self.assertEqual(learner.columns if isinstance(learner, _Learner) else None, number_columns.parse(('x', 'y')))

  def test_the_manifest_says_what_it_rests_on(self) -> None:
    self.assertEqual([entry['what'] for entry in _make().provenance], ['classes', 'factor'])

  def test_the_scaling_is_checked(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected other columns.$'):
      _make(('x', 'bad'))

  def test_labels_and_schema(self) -> None:
    np.testing.assert_array_equal(_make().read_labels(_TABLE), np.array([1, 0], np.int8), strict=True)
    expected = schema_lib.Schema(
      'classification',
      schema_lib.Feature('features', 'float32', (3, 4)),
      schema_lib.Feature('label', 'int8', ()),
      ('no', 'yes'),
    )
    self.assertEqual(_make().make_schema((3, 4)), expected)

  def test_the_label_is_no_feature(self) -> None:
    with self.assertRaisesRegex(ValueError, "^Expected each column in one place, found 'kind' in two: use it once.$"):
      _make(('x', 'kind'))


if __name__ == '__main__':
  absltest.main()
