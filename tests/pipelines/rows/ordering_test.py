import datetime
import decimal
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import ordering
from pipelines.rows import time_forms
from pipelines.rows import times


def _read(values: pa.Array, order_type: str) -> list[int | None]:
  """Returns the order of each row, None where there is none."""
  read = ordering.read_order(values, order_type)
  refused = np.logical_or.reduce([np.zeros(len(read.values), bool), *read.refused.values()])
  return [None if bad else value for value, bad in zip(read.values.to_pylist(), refused, strict=True)]


class ReadOrderTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('integers', pa.array([3, None, -1])),
    ('small', pa.array([3, None, -1], pa.int8())),
    ('bytes', pa.array([b'3', b'\xff', b'-1'])),
    ('whole', pa.array([3.0, None, -1.0])),
    ('text', pa.array([' 3', '', '-1'])),
    ('signed', pa.array(['+3', 'x', '-1 '])),
    ('doubles_as_text', pa.array(['+3.0', '3.5', '-1.'])),
    ('decimals', pa.array([3, None, -1], pa.decimal128(38, 0))),
    ('cents', pa.array([decimal.Decimal(text) for text in ('3.00', '3.50', '-1')])),
    ('large', pa.array(['3', None, '-1'], pa.large_string())),
    ('view', pa.array(['3', None, '-1'], pa.string_view())),
    ('runs', pc.run_end_encode(pa.array([3, None, -1]))),
    ('broken_text', pa.array([b'3', b'\xff', b'-1']).view(pa.string())),
    ('dictionary_of_numbers', pa.array([3, None, -1]).dictionary_encode()),
    ('dictionary', pa.array(['3', '3.5', '-1']).dictionary_encode()),
  )
  def test_integers(self, values: pa.Array) -> None:
    self.assertEqual(_read(values, 'integer'), [3, None, -1])

  @parameterized.parameters(
    (pa.array([1.5]),),
    (pa.array([2.0**53]),),
    (pa.array([float('nan')]),),
    (pa.array([True]),),
    (pa.array([[1]]),),
    (pa.array(['9' * 19]),),
    (pa.nulls(1),),
  )
  def test_refuses_what_is_no_integer(self, values: pa.Array) -> None:
    self.assertEqual(_read(values, 'integer'), [None])

  def test_refuses_integers_beyond_64_bits(self) -> None:
    numbers = [2**63, 2**63 - 1, -(2**63), -(2**63) - 1]
    expected = [None, 2**63 - 1, -(2**63), None]
    self.assertEqual(_read(pa.array(numbers[:2], pa.uint64()), 'integer'), expected[:2])
    self.assertEqual(_read(pa.array(numbers, pa.decimal128(38, 0)), 'integer'), expected)
    self.assertEqual(_read(pa.array([*map(str, numbers), '9' * 80]), 'integer'), [*expected, None])

  @hypothesis.given(strategies.lists(strategies.floats(-1e38, 1e38), min_size=1))
  def test_numbers_sort_as_they_should(self, values: list[float]) -> None:
    order = _read(pa.array(values), 'number')
    self.assertNotIn(None, order)
    by_order = [values[place] for place in np.argsort(np.array(order, np.int64))]
    self.assertEqual(by_order, sorted(values))
    self.assertLen(set(order), len(set(values)))

  def test_refuses_numbers_without_a_place(self) -> None:
    self.assertEqual(_read(pa.array([float('nan'), float('inf'), None, 0.0]), 'number'), [None, None, None, 0])

  def test_times_of_all_forms(self) -> None:
    microseconds = 1_700_000_000_000_000
    time = datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC)
    for values in (
      pa.array(['2023-11-14T22:13:20Z']),
      pa.array(['2023-11-14T23:13:20+01:00']),
      pa.array(['2023-11-14 22:13:20']),
      pa.array(['2023-11-14T22:13:20.000000']),
      pa.array([time], pa.timestamp('ms', 'Europe/Berlin')),
      pa.array([time.replace(tzinfo=None)], pa.timestamp('ns')),
    ):
      with self.subTest(values.to_pylist()):
        self.assertEqual(_read(values, 'time'), [microseconds])

  def test_a_bad_time_does_not_spoil_the_others(self) -> None:
    values = pa.array(['2023-13-14', None, '2023-11-14T22:13:20+01:00', '2023-11-14T22:13:20', 'yesterday'])
    self.assertEqual([time is not None for time in _read(values, 'time')], [False, False, True, True, False])

  @parameterized.parameters(
    '2023-11-14T22:13:20Z',
    '2023-11-14 22:13:20+00:00',
    '2023-11-14 22:13:20.5-0130',
    '2023-11-14 22:13:20',
    '2023-11-14',
  )
  def test_usual_forms_are_not_read_one_by_one(self, text: str) -> None:
    expected = _read(pa.array([text, 'x']), 'time')[:1]
    with mock.patch.object(times, '_read_other', side_effect=AssertionError):
      self.assertEqual(_read(pa.array([text]), 'time'), expected)

  @parameterized.parameters('{}', '{}Z', '{}+00:00')
  def test_the_first_and_the_last_time(self, form: str) -> None:
    values = [form.format('0001-01-01T00:00:00'), form.format('9999-12-31T23:59:59')]
    expected = [-62_135_596_800_000_000, 253_402_300_799_000_000]
    self.assertEqual(_read(pa.array(values), 'time'), expected)
    self.assertEqual(_read(pa.array([*values, 'x']), 'time'), [*expected, None])

  @parameterized.parameters(
    '0001-01-01T00:00:00+05:00',
    '0001-01-01T04:59:59+05:00',
    '9999-12-31T23:59:59-05:00',
    '9999-12-31T19:00:00-05:00',
    '9999-12-31 23:59:59-00:01',
    '0000-12-31T23:59:59Z',
    '0000-12-31T23:59:59',
  )
  def test_a_zone_that_leads_out_of_the_years_gives_no_order(self, text: str) -> None:
    self.assertEqual(_read(pa.array([text]), 'time'), [None])
    self.assertEqual(_read(pa.array([text, 'x']), 'time'), [None, None])

  def test_zones_in_the_first_and_the_last_year(self) -> None:
    values = ['0001-01-01T05:00:00+05:00', '9999-12-31T18:59:59-05:00']
    self.assertEqual(_read(pa.array(values), 'time'), [-62_135_596_800_000_000, 253_402_300_799_000_000])
    self.assertEqual(_read(pa.array([*values, 'x']), 'time')[:2], _read(pa.array(values), 'time'))

  @hypothesis.settings(deadline=None)
  @hypothesis.given(
    strategies.lists(
      strategies.builds(
        '{}{}{}{}'.format,
        strategies.dates(),
        strategies.sampled_from(['T', ' ']),
        strategies.times(),
        strategies.sampled_from(['', 'Z', '+00:00', '+05:00', '-0930', '-23:59', '+23:59', '+05', 'x']),
      ),
      max_size=4,
    )
  )
  def test_a_time_is_read_alike_whatever_its_neighbors(self, texts: list[str]) -> None:
    together = _read(pa.array([*texts, 'x']), 'time')[:-1]
    self.assertEqual(together, [_read(pa.array([text]), 'time')[0] for text in texts])

  @parameterized.parameters(
    (pa.timestamp('s'), 1_000_000), (pa.timestamp('ms', 'UTC'), 1_000), (pa.date32(), 86_400_000_000)
  )
  def test_times_beyond_64_bits_have_no_order(self, kind: pa.DataType, unit: int) -> None:
    largest = (2**63 - 1) // unit
    size = pa.int32() if pa.types.is_date32(kind) else pa.int64()
    counts = [0, largest, largest + 1, -largest, -largest - 2, None]
    found = _read(pa.array(counts, size).cast(kind), 'time')
    self.assertEqual(found, [0, largest * unit, None, -largest * unit, None, None])

  def test_wrapped_times_have_no_order(self) -> None:
    self.assertEqual(_read(pa.array([2**62, -(2**63)], pa.timestamp('s')), 'time'), [None, None])
    self.assertEqual(_read(pa.array([2**62], pa.timestamp('us')), 'time'), [2**62])
    self.assertEqual(_read(pa.array([2**62], pa.timestamp('ns')), 'time'), [2**62 // 1_000])
    self.assertEqual(_read(pa.array([2**62, 86_400_000]).view(pa.date64()), 'time'), [None, 86_400_000_000])

  def test_times_however_they_are_stored(self) -> None:
    stamps, texts = pa.array([1, None], pa.timestamp('s')), pa.array(['1970-01-01T00:00:01', None])
    for values in (
      stamps.dictionary_encode(),
      pc.run_end_encode(stamps),
      texts.cast(pa.string_view()),
      pc.run_end_encode(texts),
      texts.cast(pa.binary()),
    ):
      self.assertEqual(_read(values, 'time'), [1_000_000, None])

  def test_bytes_that_are_no_text_are_no_time(self) -> None:
    values = pa.array([b'2023-11-14\xff', b'1970-01-02', None]).view(pa.string())
    self.assertEqual(_read(values, 'time'), [None, 86_400_000_000, None])

  def test_days(self) -> None:
    self.assertEqual(_read(pa.array([1], pa.date32()), 'time'), [86_400_000_000])

  def test_numbers_are_times_since_1970_in_the_unit_that_their_size_says(self) -> None:
    expected = 1_432_157_642_000_000
    seconds = expected // 1_000_000
    for values in (
      pa.array([seconds]),
      pa.array([seconds], pa.uint32()),
      pa.array([float(seconds)]),
      pa.array([str(seconds)]),
      pa.array([seconds * 1_000]),
      pa.array([f'{seconds}000.0']),
      pa.array([expected]),
      pa.array([expected * 1_000]),
      pa.array([decimal.Decimal(seconds)]),
    ):
      self.assertEqual(_read(values, 'time'), [expected])
    self.assertEqual(_read(pa.array([1.5, float('nan'), float('inf'), 1e300]), 'time'), [1_500_000, None, None, None])

  def test_what_can_be_read_in_two_ways_is_refused_as_that(self) -> None:
    values = pa.array(['05/06/2015', '20/05/2015', '20150520', 'x', None])
    refused = {reason: mask.tolist() for reason, mask in ordering.read_order(values, 'time').refused.items()}
    self.assertEqual(refused['ambiguous_date'], [True, False, True, False, False])
    self.assertEqual(refused['order_not_time'], [False, False, False, True, False])
    self.assertEqual(list(ordering.read_order(pa.array([20150520]), 'time').refused), ['ambiguous_date'])

  def test_a_format_is_read_of_texts_and_of_numbers(self) -> None:
    pattern = time_forms.compile_format('%Y%m%d')
    for values in (pa.array([19700103, 5]), pa.array(['19700103', '1970-01-03'])):
      self.assertEqual(ordering.read_order(values, 'time', pattern).values.to_pylist(), [172_800_000_000, 0])

  @parameterized.parameters('integer', 'number')
  def test_says_that_refused_values_look_like_times(self, order_type: str) -> None:
    values = pa.array(['2015-05-20 21:34:02 UTC', '05/06/2015', 'x', None, '7'])
    self.assertEqual(ordering.read_order(values, order_type).found, {'time': 2})
    self.assertEqual(ordering.read_order(pa.array([5], pa.timestamp('s')), order_type).found, {'time': 1})
    self.assertEqual(ordering.read_order(pa.array(['7', 'x']), order_type).found, {})

  def test_says_whether_there_is_no_order_or_one_of_another_type(self) -> None:
    refused = ordering.read_order(pa.array(['1', None, 'x']), 'integer').refused
    found = {reason: mask.tolist() for reason, mask in refused.items()}
    self.assertEqual(found, {'no_order': [False, True, False], 'order_not_integer': [False, False, True]})
    self.assertEqual(list(ordering.read_order(pa.array([True]), 'time').refused), ['order_not_time'])

  @hypothesis.settings(deadline=None)
  @hypothesis.given(strategies.lists(strategies.text(alphabet='0123456789-+:TZ. e', max_size=30)))
  def test_any_text_is_read_or_refused(self, values: list[str]) -> None:
    for order_type in ordering.TYPES:
      self.assertLen(_read(pa.array(values, pa.string()), order_type), len(values))


if __name__ == '__main__':
  absltest.main()
