"""Tests of what is read alike however it is stored."""

import decimal
from typing import Any
import unicodedata
import uuid

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines.rows import casts

_UUIDS = [uuid.UUID('12345678-9ABC-DEF0-1234-56789abcdef0'), None, uuid.UUID(int=7)]


def _store(values: pa.Array, how: str) -> pa.Array | pa.ChunkedArray:
  """Stores values in another way."""
  places = pa.array([row if valid else None for row, valid in enumerate(values.is_valid().to_pylist())], pa.int8())
  if how == 'dictionary':
    return pa.DictionaryArray.from_arrays(places, values)
  if how == 'runs':
    return pa.RunEndEncodedArray.from_arrays(pa.array(range(1, len(values) + 1), pa.int16()), values)
  if how == 'runs of a dictionary':
    return _store(_store(values, 'dictionary'), 'runs')
  return pa.chunked_array([values[:1], values[1:]], values.type)


def _text(values: pa.Array) -> list[str | None]:
  text = casts.to_text(values)
  return ['no text'] if text is None else text.to_pylist()


class UnwrapTest(parameterized.TestCase):
  @parameterized.product(
    how=['dictionary', 'runs', 'runs of a dictionary', 'chunks'],
    values=[
      pa.array(['a', None, '']),
      pa.array(['a', None, ''], pa.large_string()),
      pa.array(['a', None, ''], pa.string_view()),
      pa.array([b'a', None, b''], pa.binary_view()),
      pa.array([1, None, 0], pa.int8()),
      pa.array([1, None, 0], pa.float16()),
      pa.array([1, None, 0], pa.decimal128(38, 0)),
      pa.array([1, None, 0], pa.timestamp('s')),
      pa.array([True, None, False]),
      pa.array([[1], None, []]),
      pa.array(_UUIDS, pa.uuid()),
    ],
  )
  def test_how_values_are_stored_makes_no_difference(self, how: str, values: pa.Array) -> None:
    stored = _store(values, how)
    self.assertEqual(casts.unwrap(stored).to_pylist(), casts.unwrap(values).to_pylist())
    self.assertEqual(casts.unwrap(stored[1:3]).to_pylist(), casts.unwrap(values).to_pylist()[1:3])

  def test_long_runs(self) -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([3, 4, 9], pa.int32()), pa.array(['a', None, 'b']))
    expected = ['a', 'a', 'a', None, *'bbbbb']
    for start in range(10):
      for stop in range(start, 10):
        self.assertEqual(casts.unwrap(runs[start:stop]).to_pylist(), expected[start:stop])

  def test_a_uuid_is_its_usual_text(self) -> None:
    values = pa.array(_UUIDS, pa.uuid())
    expected = [value and str(value) for value in _UUIDS]
    self.assertEqual(casts.unwrap(values).to_pylist(), expected)
    self.assertEqual(casts.unwrap(values[1:]).to_pylist(), expected[1:])
    self.assertEqual(casts.unwrap(values[:0]).to_pylist(), [])

  def test_an_extension_is_what_it_is_stored_as(self) -> None:
    values = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{}', None]))
    self.assertEqual(casts.unwrap(values), pa.array(['{}', None]))


class ToTextTest(parameterized.TestCase):
  @parameterized.parameters(
    pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()
  )
  def test_text_of_any_kind(self, kind: pa.DataType) -> None:
    values = casts.unwrap(pa.array(['é', None, '17', '']).cast(kind))
    self.assertEqual(casts.to_text(values), pa.array(['é', None, '17', ''], pa.large_string()))
    self.assertEqual(casts.to_bytes(values), pa.array(['é', None, '17', '']).cast(pa.large_binary()))

  def test_bytes_of_one_size(self) -> None:
    values = pa.array([b'ab', None, b'\xff\xff'], pa.binary(2))
    self.assertEqual(_text(values), ['ab', None, None])

  @parameterized.parameters(pa.binary(), pa.string())
  def test_what_is_no_utf8_is_null_and_its_neighbors_are_not(self, kind: pa.DataType) -> None:
    values = pa.array([b'a', b'x\xffy', None, 'ü'.encode(), b'\xed\xa0\x80', b'z']).view(kind)
    self.assertEqual(_text(values), ['a', None, None, 'ü', None, 'z'])

  @parameterized.parameters(([1],), ([True],), ([['a']],), ([None],))
  def test_anything_else_has_none(self, values: list[Any]) -> None:
    self.assertIsNone(casts.to_text(pa.array(values)))


class ComposeTest(parameterized.TestCase):
  @parameterized.parameters(
    [[]],
    [['', 'abc']],
    [['e\u0301', 'abc']],
    [['ж', 'é', '好\U0001f600']],
    [[None, 'e\u0301', None]],
    [[None, 'é']],
    [['\u0958', '\u212b', '\u1100\u1161']],
    [['a', '\u0301']],
  )
  def test_each_text_by_itself(self, texts: list[str | None]) -> None:
    for text in (pa.array(texts, pa.large_string()), pa.array(['e\u0301', *texts], pa.large_string())[1:]):
      composed = casts.compose(text)
      expected = [value if value is None else unicodedata.normalize('NFC', value) for value in texts]
      self.assertSequenceEqual(composed.to_pylist(), expected)
      self.assertEqual(composed.type, pa.large_string())

  def test_text_that_is_composed_is_not_copied(self) -> None:
    text = pa.array(['abc', 'é'], pa.large_string())
    self.assertIs(casts.compose(text), text)


class ToWholeTest(parameterized.TestCase):
  @parameterized.parameters(pa.float16(), pa.float32(), pa.float64())
  def test_doubles(self, kind: pa.DataType) -> None:
    values = np.array([17.0, -3.0, 0.5, np.nan, -np.inf, -0.0])
    self.assertEqual(casts.to_whole(pa.array(values).cast(kind)), pa.array([17, -3, None, None, None, 0], pa.int64()))

  def test_a_double_that_may_be_another_number_is_none(self) -> None:
    values = pa.array([2.0**53 - 1, 2.0**53, -(2.0**53), None])
    self.assertEqual(casts.to_whole(values).to_pylist(), [2**53 - 1, None, None, None])

  @parameterized.parameters(
    pa.decimal32(7, 2), pa.decimal64(7, 2), pa.decimal128(38, 2), pa.decimal256(76, 2), pa.decimal128(38, 12)
  )
  def test_decimals(self, kind: pa.DataType) -> None:
    values = pa.array([decimal.Decimal(text) for text in ('17', '-3.00', '0.5', '-0.01', '0')] + [None], kind)
    whole = casts.to_whole(values)
    self.assertEqual(whole.cast(pa.string()).to_pylist(), ['17', '-3', None, None, '0', None])

  @hypothesis.given(strategies.lists(strategies.decimals(-(10**24), 10**24, places=6)))
  def test_any_decimals(self, numbers: list[decimal.Decimal]) -> None:
    whole = casts.to_whole(pa.array(numbers, pa.decimal128(38, 6)))
    self.assertEqual(whole.to_pylist(), [number if number % 1 == 0 else None for number in numbers])

  def test_more_digits_than_64_bits_hold(self) -> None:
    digits = '9' * 38
    whole = casts.to_whole(pa.array([decimal.Decimal(digits)], pa.decimal128(38, 0)))
    self.assertEqual(whole.cast(pa.string()).to_pylist(), [digits])


class ToNamesTest(parameterized.TestCase):
  @parameterized.parameters(
    ([1, None], pa.uint64(), [b'1', None]),
    ([1.0, 0.5, 1e300], pa.float64(), [b'1', b'0.5', b'1e+300']),
    ([decimal.Decimal('1.00'), decimal.Decimal('1.50')], None, [b'1', b'1.50']),
    ([decimal.Decimal('0')], pa.decimal128(38, 12), [b'0']),
    ([True, False], None, [b'true', b'false']),
    (['x', None], None, [b'x', None]),
    ([b'\xff'], None, [b'\xff']),
  )
  def test_names(self, values: list[Any], kind: pa.DataType | None, expected: list[bytes | None]) -> None:
    self.assertEqual(casts.to_names(pa.array(values, kind)), pa.array(expected, pa.large_binary()))

  def test_lists_have_none(self) -> None:
    self.assertIsNone(casts.to_names(pa.array([[1]])))


class MaskTest(absltest.TestCase):
  def test_null_is_false(self) -> None:
    self.assertEqual(casts.to_mask(pa.array([True, None, False])).tolist(), [True, False, False])
    self.assertEqual(casts.to_mask(pa.array([None, False], pa.bool_())).tolist(), [False, False])

  def test_nulls(self) -> None:
    self.assertEqual(casts.is_null(pa.array([1, None])).tolist(), [False, True])
    self.assertEqual(casts.is_null(pa.nulls(1)).tolist(), [True])


class WithPointsTest(absltest.TestCase):
  def test_texts_get_a_point_where_they_had_a_comma(self) -> None:
    values = pa.array(['1,5', '-2', '1.234', '1.234,5', None, ''])
    self.assertIs(casts.with_points(values, '.'), values)
    self.assertEqual(casts.with_points(values, ',').to_pylist(), ['1.5', '-2', '1;234', '1;234.5', None, ''])
    numbers = pa.array([1.5])
    self.assertIs(casts.with_points(numbers, ','), numbers)


if __name__ == '__main__':
  absltest.main()
