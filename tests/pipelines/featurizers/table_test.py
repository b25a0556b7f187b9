"""Tests of tables: numbers, then a 1 for each category."""

from typing import Any

from absl.testing import absltest
import numpy as np
import pyarrow as pa

from pipelines.featurizers import table
from pipelines.rows import columns
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import scaling

_CATEGORIES = (table.Category('sex', ('f', 'm')), table.Category('size', ('s', 'm', 'l')))


def _make(**options: Any) -> table.Table:
  given = {'numbers': ('age',), 'categories': _CATEGORIES, 'label': 'kind', 'classes': ('0', '1', '2'), **options}
  return table.Table(**given)


def _rows(featurizer: table.Table, starts: list[int], **values: list[Any]) -> rows_lib.ClientRows:
  read = {column.name: column.kind.read(pa.array(values[column.name])) for column in featurizer.columns}
  if any(column.refused for column in read.values()):
    raise AssertionError(read)
  return rows_lib.ClientRows(pa.table({name: column.values for name, column in read.items()}), np.array(starts))


class TableTest(absltest.TestCase):
  def test_one_row_is_one_example(self) -> None:
    featurizer = _make()
    rows = _rows(
      featurizer, [0, 2, 2, 3], age=['30', '4', '5.5'], sex=['m', 'f', 'f'], size=['l', 's', 'm'], kind=[2, 0, 1]
    )
    made = featurizer.featurize(rows)
    expected = np.array([[30, 0, 1, 0, 0, 1], [4, 1, 0, 1, 0, 0], [5.5, 1, 0, 0, 1, 0]], np.float32)
    np.testing.assert_array_equal(made.features, expected, strict=True)
    np.testing.assert_array_equal(made.labels, np.array([2, 0, 1], np.int8), strict=True)
    for found in (made.first_row, made.last_row):
      self.assertSequenceEqual(found.tolist(), [0, 1, 2])
    self.assertSequenceEqual(made.starts.tolist(), [0, 2, 2, 3])
    self.assertIsNone(made.unknown)
    self.assertEqual(featurizer.schema.feature.shape, (6,))
    self.assertEqual(featurizer.schema.feature.dtype, made.features.dtype)

  def test_no_rows(self) -> None:
    featurizer = _make()
    made = featurizer.featurize(_rows(featurizer, [0, 0], age=[], sex=[], size=[], kind=[]))
    self.assertEqual((made.features.shape, made.labels.shape), ((0, 6), (0,)))

  def test_numbers_or_categories_alone(self) -> None:
    self.assertEqual(_make(numbers=()).schema.feature.shape, (5,))
    self.assertEqual(_make(categories=()).schema.feature.shape, (1,))
    with self.assertRaisesRegex(ValueError, '^Expected columns to make features of, found none: list numbers or'):
      _make(numbers=(), categories=())

  def test_a_missing_number_can_have_a_stand_in(self) -> None:
    for missing in (None, 2.0):
      self.assertEqual(_make(missing=missing).columns[0], columns.Column('age', columns.Number(missing)))

  def test_a_column_can_have_a_stand_in_of_its_own(self) -> None:
    numbers = ('age', number_columns.NumberColumn('height', missing=170.0))
    featurizer = _make(numbers=numbers, categories=(), missing=2.0)
    rows = _rows(featurizer, [0, 2], age=[30, None], height=[None, 180], kind=[0, 1])
    np.testing.assert_array_equal(featurizer.featurize(rows).features, [[30, 170], [2, 180]])

  def test_other_and_missing_values_of_a_category(self) -> None:
    category = table.Category('size', ('s', 'm'), other=True, missing=True)
    featurizer = _make(numbers=(), categories=(category,))
    rows = _rows(featurizer, [0, 4], size=['m', 'xl', None, 's'], kind=[0, 1, 2, 0])
    np.testing.assert_array_equal(
      featurizer.featurize(rows).features, [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    )

  def test_booleans(self) -> None:
    flag = table.Category('flag', ('false', 'true'))
    featurizer = _make(numbers=('on',), categories=(flag,), classes=('false', 'true'))
    rows = _rows(featurizer, [0, 2], on=[True, False], flag=[True, False], kind=[False, True])
    made = featurizer.featurize(rows)
    np.testing.assert_array_equal(made.features, [[1, 0, 1], [0, 1, 0]])
    self.assertSequenceEqual(made.labels.tolist(), [0, 1])
    # CSV has no types.
    text = _rows(featurizer, [0, 2], on=['True', 'false'], flag=['True', 'False'], kind=['FALSE', 'true'])
    np.testing.assert_array_equal(featurizer.featurize(text).features, made.features)

  def test_a_list_of_numbers(self) -> None:
    vector = number_columns.NumberColumn('vector', length=2)
    learned = scaling.Scaling('declared', mean=(0.0, 0.0, 1.0), stddev=(1.0, 1.0, 2.0))
    featurizer = _make(numbers=('age', vector), categories=(), scaling=learned)
    spellings: tuple[list[Any], ...] = ([[1, 2], [3, 4.5]], ['[1, 2]', '3 4.5'])
    for vectors in spellings:
      rows = _rows(featurizer, [0, 2], age=[1, 2], vector=vectors, kind=[0, 1])
      np.testing.assert_array_equal(featurizer.featurize(rows).features, [[1, 1, 0.5], [2, 3, 1.75]])
    with self.assertRaisesRegex(ValueError, 'a scaling with a mean of each of 3 columns, found 2'):
      _make(numbers=('age', vector), scaling=scaling.Scaling('declared', mean=(0.0, 1.0), stddev=(1.0, 1.0)))

  def test_numbers_that_are_far_from_one(self) -> None:
    featurizer = _make(numbers=('age', number_columns.NumberColumn('vector', length=3)), categories=())
    rows = _rows(featurizer, [0, 2], age=[40, 2], vector=[[99, 99, 1], [99, 1, 1]], kind=[0, 1])
    self.assertEqual(featurizer.count_unscaled(rows.table), {'age': 1, 'vector': 1})

  def test_a_row_needs_no_other(self) -> None:
    self.assertEqual(_make().weight_needed(7), 7)

  def test_refuses_what_does_not_fit(self) -> None:
    with self.assertRaisesRegex(ValueError, "found 'sex' in two"):
      _make(numbers=('age', 'sex'))
    with self.assertRaisesRegex(ValueError, 'Expected at least one class'):
      _make(classes=())
    with self.assertRaisesRegex(ValueError, "found 's' again"):
      _make(categories=(table.Category('size', ('s', 's')),))
    with self.assertRaisesRegex(ValueError, 'finite'):
      _make(missing=np.nan)


if __name__ == '__main__':
  absltest.main()
