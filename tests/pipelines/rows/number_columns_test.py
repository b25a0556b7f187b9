"""Tests of columns of numbers, and of lists of them."""

from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from pipelines.rows import number_columns


def _read(values: pa.Array, length: int = 2, missing: float | None = None) -> list[Any]:
  """Returns the numbers of each row, or why it is refused."""
  column = number_columns.NumberColumn('x', missing, length)
  read = column.kind.read(values)
  found: list[Any] = column.read(pa.table({'x': pa.chunked_array([read.values])})).tolist()
  for reason, rows in read.refused.items():
    for row in np.flatnonzero(rows):
      found[row] = f'{found[row]}, {reason}' if isinstance(found[row], str) else reason
  return found


class NumbersTest(parameterized.TestCase):
  @parameterized.parameters(
    pa.list_(pa.float64()), pa.large_list(pa.int8()), pa.list_(pa.int64(), 2), pa.list_(pa.float32())
  )
  def test_lists_of_any_kind(self, kind: pa.DataType) -> None:
    values = pa.array([[9, 9], [1, 2], None, [3, -4]], kind)
    self.assertEqual(_read(values), [[9, 9], [1, 2], 'missing', [3, -4]])
    self.assertEqual(_read(values[1:]), [[1, 2], 'missing', [3, -4]])
    self.assertEqual(_read(values, missing=7.0), [[9, 9], [1, 2], [7, 7], [3, -4]])

  def test_what_does_not_fit(self) -> None:
    values = pa.array([[1.0], [1.0, 2.0, 3.0], [1.0, None], [np.inf, 1.0], [], [None, np.nan]])
    expected = ['wrong_length', 'wrong_length', 'missing', 'not_finite', 'wrong_length', 'missing']
    self.assertEqual(_read(values), expected)
    self.assertEqual(_read(values, missing=0.0)[2], [1.0, 0.0])
    self.assertEqual(_read(pa.array([1.0, None])), ['not_a_list', 'missing'])
    self.assertEqual(_read(pa.array([[True, False]])), [[1.0, 0.0]])
    self.assertEqual(_read(pa.array([['1', 'x']])), ['not_a_number'])
    self.assertEqual(_read(pa.nulls(1)), ['missing'])
    self.assertEqual(_read(pa.array([], pa.list_(pa.int8()))), [])

  def test_text(self) -> None:
    texts = ['[1, 2.5]', '1 2.5', ' (1;2.5)\n', '1e3,-2', '', '[]', 'x y', '1', None]
    expected = [[1, 2.5]] * 3 + [[1000, -2], 'missing', 'missing', 'not_a_number', 'wrong_length', 'missing']
    self.assertEqual(_read(pa.array(texts)), expected)

  def test_rows_of_a_slice_of_a_table(self) -> None:
    column = number_columns.NumberColumn('x', length=2)
    read = column.kind.read(pa.array([[1, 2], [3, 4], [5, 6]])).values
    table = pa.table({'x': pa.chunked_array([read[1:], read[:1]])})
    np.testing.assert_array_equal(column.read(table), [[3, 4], [5, 6], [1, 2]])


class NumberColumnTest(absltest.TestCase):
  def test_names(self) -> None:
    columns = number_columns.parse(('a', number_columns.NumberColumn('b', length=2)))
    self.assertEqual(number_columns.names(columns), ('a', 'b[0]', 'b[1]'))

  def test_a_column_says_what_stands_in_or_all_do(self) -> None:
    columns = number_columns.parse(('a', number_columns.NumberColumn('b', missing=0.0)), 2.0)
    self.assertEqual([column.missing for column in columns], [2.0, 0.0])

  def test_one_number(self) -> None:
    column = number_columns.NumberColumn('x')
    np.testing.assert_array_equal(column.read(pa.table({'x': [1.0, 2.0]})), [[1], [2]])

  def test_a_length_has_limits(self) -> None:
    for length in (-1, 1 << 17):
      with self.assertRaisesRegex(ValueError, f'Expected 0 <= length <= 65536, found {length}'):
        number_columns.NumberColumn('x', length=length)


if __name__ == '__main__':
  absltest.main()
