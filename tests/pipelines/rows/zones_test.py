"""Tests of zones, against Python's."""

import datetime
import zoneinfo

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from pipelines.rows import zones

_HOUR = 3_600_000_000


class ToUtcTest(parameterized.TestCase):
  @parameterized.parameters(
    ('', 0),
    ('Z', 0),
    ('utc', 0),
    ('+0000', 0),
    ('-00:00', 0),
    ('+05', 5),
    ('+0530', 5.5),
    ('-05:30', -5.5),
    ('GMT+0200', 2),
    ('UTC-03', -3),
    ('CET', 1),
    ('EDT', -4),
  )
  def test_fixed(self, zone: str, hours: float) -> None:
    found, is_known = zones.to_utc(np.array([0, _HOUR]), pa.array([zone, 'Z']))
    self.assertEqual((found.tolist(), is_known.tolist()), ([-hours * _HOUR, _HOUR], [True, True]))

  @parameterized.parameters('IST', 'Europe/Nowhere', 'Europe', 'America/Argentina', '+24', '../x', 'x/../y')
  def test_unknown(self, zone: str) -> None:
    _, is_known = zones.to_utc(np.zeros(2, np.int64), pa.array([zone, 'Z']))
    self.assertEqual(is_known.tolist(), [False, True])

  def test_zones_with_summer_time(self) -> None:
    times = np.arange(0, 40 * 365 * 24, 1_001) * _HOUR
    for name in ('Europe/Berlin', 'America/New_York', 'Asia/Kolkata'):
      found, is_known = zones.to_utc(times, pa.array([name] * len(times)))
      self.assertTrue(is_known.all())
      for time, utc in zip(times.tolist(), found.tolist(), strict=True):
        local = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=time)
        expected = local.replace(tzinfo=zoneinfo.ZoneInfo(name)).timestamp()
        self.assertEqual(utc, expected * 1_000_000)

  def test_beyond_all_years_no_zone_matters(self) -> None:
    times = np.array([-(2**62)])
    np.testing.assert_array_equal(zones.to_utc(times, pa.array(['Europe/Berlin']))[0], times)


if __name__ == '__main__':
  absltest.main()
