import datetime

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines.rows import ordering


def _read(values: pa.Array, order_type: str) -> list[int | None]:
  """Returns the order of each row, None where there is none."""
  read = ordering.read_order(values, order_type)
  (refused,) = read.refused.values()
  return [None if bad else value for value, bad in zip(read.values.to_pylist(), refused, strict=True)]


class ReadOrderTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('integers', pa.array([3, None, -1])),
      ('small', pa.array([3, None, -1], pa.int8())),
      ('bytes', pa.array([b'3', b'\xff', b'-1'])),
      ('whole', pa.array([3.0, None, -1.0])),
      ('text', pa.array([' 3', '', '-1'])),
      ('signed', pa.array(['+3', 'x', '-1 '])),
      ('dictionary', pa.array(['3', '3.5', '-1']).dictionary_encode()),
  )
  def test_integers(self, values: pa.Array) -> None:
    self.assertEqual(_read(values, 'integer'), [3, None, -1])

  @parameterized.parameters(
      (pa.array([1.5]),), (pa.array([2.0**53]),), (pa.array([float('nan')]),), (pa.array([True]),), (pa.array([[1]]),),
      (pa.array(['9' * 19]),), (pa.nulls(1),),
  )  # fmt: skip
  def test_refuses_what_is_no_integer(self, values: pa.Array) -> None:
    self.assertEqual(_read(values, 'integer'), [None])

  def test_refuses_integers_beyond_64_bits(self) -> None:
    self.assertEqual(_read(pa.array([2**63, 2**63 - 1], pa.uint64()), 'integer'), [None, 2**63 - 1])

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

  def test_days(self) -> None:
    self.assertEqual(_read(pa.array([1], pa.date32()), 'time'), [86_400_000_000])

  def test_numbers_are_no_times(self) -> None:
    self.assertEqual(_read(pa.array([1]), 'time'), [None])

  @hypothesis.given(strategies.lists(strategies.text(alphabet='0123456789-+:TZ. e', max_size=30)))
  def test_any_text_is_read_or_refused(self, values: list[str]) -> None:
    for order_type in ordering.TYPES:
      self.assertLen(_read(pa.array(values, pa.string()), order_type), len(values))


if __name__ == '__main__':
  absltest.main()
