"""Tests of reading columns: by hand, and with arrays of any type, which give reasons and never an exception."""

import base64
from collections.abc import Sequence
import decimal
import io
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import columns

_KINDS = (
  columns.Text(),
  columns.Id(),
  columns.Number(),
  columns.Number(missing=-1.0),
  columns.Category(('1', '', 'true', '0.5', 'ü')),
  columns.Image(2, 3),
)
_UUID = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16)), None], pa.binary(16)))


def _read(kind: columns.Kind, values: pa.Array | pa.ChunkedArray) -> list[Any]:
  """Returns each row as its value, or as the only reason for which it is refused."""
  read = kind.read(values)
  read.values.validate(full=True)
  if read.values.type != kind.arrow_type or len(read.values) != len(values):
    raise AssertionError(f'{len(read.values)} of {read.values.type}')
  seen: list[Any] = read.values.to_pylist()
  refused = np.zeros(len(values), bool)
  for reason, rows in read.refused.items():
    if rows.dtype != bool or len(rows) != len(values) or not rows.any() or (rows & refused).any():
      raise AssertionError(f'{reason}: {rows}')
    refused |= rows
    for row in np.flatnonzero(rows):
      seen[row] = f'!{reason}'
  return seen


class TextTest(parameterized.TestCase):
  @parameterized.parameters(
    *((kind(),) for kind in (pa.string, pa.large_string, pa.string_view, pa.binary, pa.large_binary, pa.binary_view)),
    (pa.dictionary(pa.int8(), pa.string()),),
  )
  def test_reads_text_however_it_is_stored(self, arrow_type: pa.DataType) -> None:
    values = pa.array(['a', '', None, 'é😀\n'], arrow_type)
    self.assertSequenceEqual(_read(columns.Text(), values), ['a', '', '!missing', 'é😀\n'])
    self.assertSequenceEqual(_read(columns.Text(), values.slice(1, 3)), ['', '!missing', 'é😀\n'])

  @parameterized.parameters(pa.binary(), pa.string())
  def test_bytes_that_are_no_utf8_are_refused_and_their_neighbors_are_not(self, arrow_type: pa.DataType) -> None:
    values = pa.array([b'a', b'\xff', None, 'ü'.encode(), b'\xed\xa0\x80', b'z']).view(arrow_type)
    expected = ['a', '!not_utf8', '!missing', 'ü', '!not_utf8', 'z']
    self.assertSequenceEqual(_read(columns.Text(), values), expected)

  @parameterized.parameters(([1, None],), ([True, None],), ([[1], None],), ([{'a': 'b'}, None],))
  def test_what_is_no_text_is_refused(self, values: Sequence[Any]) -> None:
    self.assertSequenceEqual(_read(columns.Text(), pa.array(values)), ['!not_text', '!missing'])

  def test_reads_what_is_stored_in_runs_or_as_an_extension(self) -> None:
    values = pc.run_end_encode(pa.array(['a', 'a', None]))
    self.assertSequenceEqual(_read(columns.Text(), values), ['a', 'a', '!missing'])
    values = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{}', None]))
    self.assertSequenceEqual(_read(columns.Text(), values), ['{}', '!missing'])

  def test_what_lies_behind_a_null_does_not_matter(self) -> None:
    content = pa.array([b'\xff', b'a', b'\xff'])
    values = pa.Array.from_buffers(pa.binary(), 3, [pa.py_buffer(b'\x06'), *content.buffers()[1:]])
    self.assertSequenceEqual(_read(columns.Text(), values), ['!missing', 'a', '!not_utf8'])
    self.assertSequenceEqual(_read(columns.Text(), values[:2]), ['!missing', 'a'])

  def test_text_is_composed(self) -> None:
    values = pa.array(['cafe\u0301', None, 'x\u0301', 'ok'])
    self.assertSequenceEqual(_read(columns.Text(), values), ['caf\u00e9', '!missing', 'x\u0301', 'ok'])

  def test_chunks(self) -> None:
    values = pa.chunked_array([pa.array(['a', None]), pa.array([], pa.string()), pa.array(['b'])])
    self.assertSequenceEqual(_read(columns.Text(), values), ['a', '!missing', 'b'])
    self.assertSequenceEqual(_read(columns.Text(), pa.chunked_array([], pa.string())), [])
    self.assertSequenceEqual(_read(columns.Text(), pa.nulls(2)), ['!missing'] * 2)


class IdTest(parameterized.TestCase):
  @parameterized.parameters(
    ([17, None], pa.int64(), ['17', '!missing']),
    ([17.0, 17.5, None], pa.float64(), ['17', '!not_an_id', '!missing']),
    ([' 17.0', 'a\u200bb', '', ' ', None], pa.string(), ['17', 'ab', '!missing', '!missing', '!missing']),
    ([b'x', b'\xff'], pa.binary(), ['x', '!not_an_id']),
    ([True, None], pa.bool_(), ['!not_an_id', '!missing']),
    ([[1]], pa.list_(pa.int64()), ['!not_an_id']),
    ([None], pa.null(), ['!missing']),
    ([], pa.string(), []),
  )
  def test_ids_of_any_type(self, values: list[Any], kind: pa.DataType, expected: list[str]) -> None:
    self.assertSequenceEqual(_read(columns.Id(), pa.array(values, kind)), expected)


class NumberTest(parameterized.TestCase):
  @parameterized.parameters(
    (pa.int8(), 5, 5.0),
    (pa.uint64(), 2**63, 2.0**63),
    (pa.float16(), np.float16(0.5), 0.5),
    (pa.float32(), 0.25, 0.25),
    (pa.decimal128(9, 3), decimal.Decimal('1.125'), 1.125),
    (pa.string(), ' -1.5e3\t', -1500.0),
    (pa.string(), '+.5', 0.5),
    (pa.binary(), b'7', 7.0),
    (pa.string(), '', '!missing'),
    (pa.string(), ' ', '!missing'),
    (pa.string(), '1,5', '!not_a_number'),
    (pa.string(), '0x10', '!not_a_number'),
    (pa.string(), '1_0', '!not_a_number'),
    (pa.string(), '٣', '!not_a_number'),
    (pa.binary(), b'\xff', '!not_a_number'),
    (pa.bool_(), True, 1.0),
    (pa.bool_(), False, 0.0),
    (pa.timestamp('us'), 5, '!not_a_number'),
    (pa.duration('s'), 5, '!not_a_number'),
    (pa.list_(pa.int8()), [1], '!not_a_number'),
    (pa.float64(), np.nan, '!not_finite'),
    (pa.float64(), -np.inf, '!not_finite'),
    (pa.float64(), 1e39, '!not_finite'),
    (pa.string(), 'NaN', '!not_finite'),
    (pa.string(), 'nan(1)', '!not_finite'),
    (pa.string(), '-Infinity', '!not_finite'),
    (pa.string(), '1e999', '!not_finite'),
  )
  def test_reads(self, arrow_type: pa.DataType, value: Any, expected: float | str) -> None:
    self.assertSequenceEqual(_read(columns.Number(), pa.array([value, None], arrow_type)), [expected, '!missing'])
    seen = _read(columns.Number(), pa.array([value, 'no', '1'])) if isinstance(value, str) else None
    self.assertIn(seen, (None, [expected, '!not_a_number', 1.0]))

  def test_a_missing_value_can_have_a_stand_in(self) -> None:
    values = pa.array(['1', '', None, 'x', 'nan'])
    expected = [1.0, -3.0, -3.0, '!not_a_number', '!not_finite']
    self.assertSequenceEqual(_read(columns.Number(missing=-3.0), values), expected)
    self.assertSequenceEqual(_read(columns.Number(missing=-3.0), pa.nulls(2)), [-3.0, -3.0])

  @parameterized.parameters(np.nan, np.inf)
  def test_the_stand_in_is_finite(self, value: float) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected a finite number for missing values, found '):
      columns.Number(missing=value)

  @hypothesis.settings(deadline=None, max_examples=300)
  @hypothesis.given(strategies.lists(strategies.text('+-.0123456789eEnaifty( )_'), min_size=1, max_size=6))
  def test_a_row_is_read_alike_whatever_its_neighbors(self, texts: list[str]) -> None:
    together = _read(columns.Number(), pa.array([*texts, 'no']))[:-1]
    apart = [_read(columns.Number(), pa.array([text]))[0] for text in texts]
    self.assertSequenceEqual(together, apart)


class CategoryTest(parameterized.TestCase):
  @parameterized.parameters(
    (False, False, ['0', '!not_in_classes', '!missing', '1']),
    (True, False, ['0', '2', '!missing', '1']),
    (False, True, ['0', '!not_in_classes', '2', '1']),
    (True, True, ['0', '2', '3', '1']),
  )
  def test_places_for_other_values_and_for_none(self, other: bool, missing: bool, expected: list[str]) -> None:
    kind = columns.Category(('a', '1'), other, missing)
    self.assertEqual(kind.places, 2 + other + missing)
    self.assertSequenceEqual([str(value) for value in _read(kind, pa.array(['a', 'x', None, '1.0']))], expected)
    # What is no value at all is not another one.
    self.assertSequenceEqual(_read(kind, pa.array([[1]])), ['!not_in_classes'])

  @parameterized.parameters(
    (['1', '', 'x', None], None, [0, 1, '!not_in_classes', '!missing']),
    (['true', 'ü'], pa.dictionary(pa.int8(), pa.string()), [2, 4]),
    ([b'1', b'\xff'], None, [0, '!not_in_classes']),
    (['1.0', ' 1', 'True', 'TRUE ', 'u\u0308', '0.50', '2.0'], None, [0, 0, 2, 2, 4, *['!not_in_classes'] * 2]),
    ([1, 2, None], None, [0, '!not_in_classes', '!missing']),
    ([True, False], None, [2, '!not_in_classes']),
    ([1.0, 0.5, 1.5, np.nan, np.inf, None], None, [0, 3, *['!not_in_classes'] * 3, '!missing']),
    ([0.5, 1.0], pa.float32(), [3, 0]),
    ([1e300], None, ['!not_in_classes']),
    ([decimal.Decimal('1.00')], None, [0]),
    ([[1], None], None, ['!not_in_classes', '!missing']),
    ([1], pa.timestamp('s'), ['!not_in_classes']),
  )
  def test_reads(self, values: list[Any], arrow_type: pa.DataType, expected: list[Any]) -> None:
    kind = columns.Category(('1', '', 'true', '0.5', 'ü'))
    self.assertSequenceEqual(_read(kind, pa.array(values, arrow_type)), expected)

  @parameterized.parameters(
    (('0.0', '1.0'), [0, 1], [0, 1]),
    (('0.0', '1.0'), ['0', '1.00'], [0, 1]),
    (('False', 'True'), [True, False], [1, 0]),
    (('False', 'True'), ['true', 'FALSE'], [1, 0]),
    (('1', '1.0'), ['1.0', '1', ' 1'], [1, 0, 0]),
    (('1.0', '1.00'), ['1', '1.00'], ['!not_in_classes', 1]),
  )
  def test_declared_values_are_compared_alike(self, declared: tuple[str, ...], values: list, expected: list) -> None:
    self.assertSequenceEqual(_read(columns.Category(declared), pa.array(values)), expected)

  def test_the_most_frequent_undeclared_values_are_found(self) -> None:
    values = ['a'] * 3 + ['rare'] * 9 + ['yes', 'no'] * 10 + ['x' * 31] * 19 + [None] * 5 + ['no']
    self.assertEqual(columns.Category(('a',)).read(pa.array(values)).found, {'no': 11, 'yes': 10})
    self.assertEqual(columns.Category(('a',)).read(pa.array([0.0] * 10)).found, {'0': 10})

  def test_a_number_beyond_whole_ones_is_not_cut_off(self) -> None:
    kind = columns.Category((str(-(2**63)), '1e+300'))
    self.assertSequenceEqual(_read(kind, pa.array([1e300, -np.inf, -(2.0**64)])), [1, *['!not_in_classes'] * 2])

  def test_values_are_listed_once(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected each class or value of a category once, found .b. again: list'):
      columns.Category(('a', 'b', 'b'))
    with self.assertRaisesRegex(ValueError, '^Expected at least one class or value of a category, found none: list'):
      columns.Category(())


class ImageTest(absltest.TestCase):
  def test_reads_bytes_lists_and_files(self) -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)).save(file, 'PNG')
    pixels = bytes(range(1, 7))
    kind = columns.Image(2, 3)
    seen = _read(kind, pa.array([pixels, None, pixels[:5], file.getvalue(), file.getvalue()[:50]]))
    self.assertSequenceEqual(seen, [pixels, '!missing', '!not_an_image', pixels, '!not_an_image'])
    seen = _read(kind, pa.array([list(pixels), None, [1], [256] * 6]))
    self.assertSequenceEqual(seen, [pixels, '!missing', '!wrong_image_size', '!not_an_image'])
    texts = [base64.b64encode(content).decode() for content in (pixels, file.getvalue(), pixels[:5])]
    seen = _read(kind, pa.array([*texts, None, f'data:image/png;base64,{texts[1]}', 'no image']))
    self.assertSequenceEqual(seen, [pixels, pixels, '!not_an_image', '!missing', pixels, '!not_an_image'])

  def test_text_is_no_image(self) -> None:
    self.assertSequenceEqual(_read(columns.Image(1, 1), pa.array(['a', None])), ['!not_an_image', '!missing'])
    self.assertSequenceEqual(_read(columns.Image(1, 1), pa.array([b'a', None])), [b'a', '!missing'])

  def test_an_image_has_a_size(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected an image of at least 1x1, found 0x3.$'):
      columns.Image(0, 3)


_LEAVES = (
  strategies.none(),
  strategies.booleans(),
  strategies.integers(-3, 300),
  strategies.floats(width=32),
  *(strategies.text(max_size=3), strategies.binary(max_size=7), strategies.dates(), strategies.datetimes()),
  strategies.decimals(-99, 99, places=2),
)


@strategies.composite
def _arrays(draw: strategies.DrawFn) -> pa.Array:
  """Draws an array of any one type, nested and encoded in any way."""
  values: strategies.SearchStrategy[Any] = strategies.none() | draw(strategies.sampled_from(_LEAVES))
  for _ in range(draw(strategies.integers(0, 3))):
    nested = strategies.lists(values, max_size=6), strategies.fixed_dictionaries({'a': values})
    values = strategies.none() | draw(strategies.sampled_from(nested))
  array = pa.array(draw(strategies.lists(values, max_size=8)))
  if draw(strategies.booleans()) and not pa.types.is_nested(array.type) and not pa.types.is_null(array.type):
    array = array.dictionary_encode() if draw(strategies.booleans()) else pc.run_end_encode(array)
  return array[draw(strategies.integers(0, 2)) :]


class AnyTypeTest(parameterized.TestCase):
  @hypothesis.settings(deadline=None, max_examples=300)
  @hypothesis.given(_arrays(), strategies.sampled_from(_KINDS))
  def test_every_row_has_a_value_or_one_reason(self, values: pa.Array, kind: columns.Kind) -> None:
    together = _read(kind, values)
    self.assertSequenceEqual(together, [_read(kind, values[row : row + 1])[0] for row in range(len(values))])
    halves = pa.chunked_array([values[: len(values) // 2], values[len(values) // 2 :]], values.type)
    self.assertSequenceEqual(together, _read(kind, halves))

  @parameterized.product(
    kind=_KINDS,
    values=[
      pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, None]), pa.array(['a', 'b'])]),
      pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
      pa.array([[(1, 2)], None], pa.map_(pa.int8(), pa.int8())),
      pa.array([[1.5] * 6, None, [2, 3, 4, 5, None, 6]], pa.list_(pa.float16(), 6)),
      pa.array([[0] * 6, [1]], pa.large_list(pa.uint8())),
      pa.array([[1, 2], [3]], pa.list_view(pa.int8())),
      pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
      pa.array([1], pa.time64('ns')),
      pa.array([1, None], pa.timestamp('ns', 'UTC')),
      pa.array([decimal.Decimal('1e30')], pa.decimal256(60, 2)),
      pa.array(['a'], pa.dictionary(pa.int32(), pa.large_string())),
      pa.chunked_array([pa.array(['a']).dictionary_encode(), pa.array(['b']).dictionary_encode()]),
      _UUID,
      pa.nulls(3),
      pa.nulls(0, pa.list_(pa.list_(pa.uint8()))),
    ],
  )
  def test_rare_types(self, kind: columns.Kind, values: pa.Array) -> None:
    self.assertLen(_read(kind, values), len(values))


if __name__ == '__main__':
  absltest.main()
