import datetime

from absl.testing import absltest
import numpy as np
import pyarrow as pa

from pipelines.rows import time_parts


def _parts(**parts: list[str]) -> dict[str, pa.Array]:
  return {name: pa.array(values, pa.large_string()) for name, values in parts.items()}


class AssembleTest(absltest.TestCase):
  def test_every_day_of_a_century(self) -> None:
    days = [datetime.date(1970, 1, 1) + datetime.timedelta(day) for day in range(36_525)]
    year, month, day = ([str(getattr(date, name)) for date in days] for name in ('year', 'month', 'day'))
    times, is_good = time_parts.assemble(_parts(year=year, month=month, day=day))
    self.assertEqual(times.tolist(), [86_400_000_000 * place for place in range(36_525)])
    self.assertTrue(is_good.all())

  def test_days_and_clocks_that_do_not_exist(self) -> None:
    parts = _parts(
      year=['2015', '2016', '2015', '2015', '2015', '0'],
      month=['2', '2', '0', '13', '12', '1'],
      day=['29', '29', '1', '1', '31', '1'],
      hour=['', '', '', '', '24', ''],
    )
    self.assertEqual(time_parts.assemble(parts)[1].tolist(), [False, True, False, False, False, False])

  def test_names_of_months_in_full_and_in_short(self) -> None:
    names = ['Jan', 'january', 'SEPT', 'sep', 'Dec', 'Mai', 'Janu']
    times, is_good = time_parts.assemble(_parts(year=['1970'] * 7, name=names))
    months = (times.astype('M8[us]').astype('M8[M]').astype(int) + 1).tolist()
    self.assertEqual(months[:5], [1, 1, 9, 9, 12])
    self.assertEqual(is_good.tolist(), [True] * 5 + [False] * 2)

  def test_halves_of_a_day(self) -> None:
    clocks = [('12', 'a'), ('1', 'A'), ('12', 'p'), ('11', 'P'), ('13', 'p'), ('0', 'a'), ('13', '')]
    hour, half = (list(part) for part in zip(*clocks, strict=True))
    times, is_good = time_parts.assemble(_parts(year=['1970'] * 7, hour=hour, half=half))
    self.assertEqual((times[[0, 1, 2, 3, 6]] // 3_600_000_000).tolist(), [0, 1, 12, 23, 13])
    self.assertEqual(is_good.tolist(), [True] * 4 + [False, False, True])

  def test_years_of_two_digits_are_those_of_posix(self) -> None:
    times, _ = time_parts.assemble(_parts(short_year=['68', '69', '00']))
    self.assertEqual((times.astype('M8[us]').astype('M8[Y]').astype(int) + 1970).tolist(), [2068, 1969, 2000])

  def test_only_numbers_that_may_be_exchanged_are_ambiguous(self) -> None:
    parts = _parts(first=['5', '5', '13', '5', '5'], other=['6', '5', '6', '13', '6'], mark=['/', '/', '-', '/', '.'])
    np.testing.assert_array_equal(time_parts.is_ambiguous(parts), [True, False, False, False, False])

  def test_fractions_of_a_second(self) -> None:
    fractions = pa.array(['', '5', '000001', '1234567'], pa.large_string())
    self.assertEqual(time_parts.pad(fractions).tolist(), [0, 500_000, 1, 123_456])


if __name__ == '__main__':
  absltest.main()
