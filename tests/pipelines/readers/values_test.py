"""Tests of Python's values as tables: nothing is lost, nothing changes its type."""

from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines.readers import values
from tests.pipelines.readers import reading

_VALUES = strategies.sampled_from([None, True, 17, 17.0, '17', b'17', [1], [1.5], {'a': 1}, {}])


class ValuesTest(parameterized.TestCase):
  @hypothesis.given(strategies.lists(strategies.tuples(_VALUES, _VALUES), max_size=20))
  @hypothesis.settings(deadline=None)
  def test_each_value_comes_back_with_its_type(self, rows: list[tuple[Any, Any]]) -> None:
    positions = np.arange(10, 10 + len(rows))
    blocks = list(values.make_blocks(['a', 'b'], values.make_rows(['a', 'b'], rows, positions), {}))
    found = reading.gather(blocks)
    self.assertEqual(repr(found.rows), repr(rows))
    self.assertEqual(found.positions, positions.tolist())
    self.assertLen({tuple(block.table.schema.types) for block in blocks}, len(blocks))

  def test_rows_of_one_type_stay_together(self) -> None:
    rows = [(1, 'x'), (2, None), (3, 'y')]
    tables = [found.table for found in values.make_rows(['a', 'b'], rows, np.arange(3))]
    self.assertEqual(tables, [pa.table({'a': [1, 2, 3], 'b': ['x', None, 'y']})])

  @parameterized.parameters(([1, 'x'],), ([2**70],), (['\ud800'],), ({'a': [1, 'x']},))
  def test_what_has_no_type_is_null_alone(self, value: Any) -> None:
    for other in ([1], 'x'):
      rows = [(value,), (other,), (value,)]
      found = reading.gather(values.make_blocks(['a'], values.make_rows(['a'], rows, np.arange(3)), {}))
      self.assertEqual(found.rows, [(None,), (other,), (None,)])

  def test_half_a_character_is_unknown(self) -> None:
    [rows] = values.make_rows(['a'], [('x\ud800y',), ('é',)], np.arange(2))
    self.assertEqual(rows.table['a'].to_pylist(), ['x\ufffdy', 'é'])

  def test_refused_rows_are_counted_once_even_if_no_other_is_there(self) -> None:
    rows = [(1,), ('x',)]
    for found in (values.make_rows(['a'], rows, np.arange(2)), ()):
      self.assertEqual(reading.gather(values.make_blocks(['a'], found, {'bad': 2})).refused, {'bad': 2})
    [block] = values.make_blocks(['a'], (), {'bad': 2})
    self.assertEqual((block.table.column_names, block.table.num_rows), (['a'], 0))
    self.assertEmpty(list(values.make_blocks(['a'], (), {})))

  def test_images_are_their_bytes(self) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    self.assertEqual(values.pack_images(images[1:]).to_pylist(), [bytes(range(8, 16)), bytes(range(16, 24))])
    self.assertEmpty(values.pack_images(images[:0]).to_pylist())


if __name__ == '__main__':
  absltest.main()
