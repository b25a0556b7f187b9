"""From the parts of times, as the patterns of `time_forms` find them in texts, to times."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import zones

SECOND = 1_000_000  # In microseconds.

_MONTHS = (
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
)
_MONTH_NAMES = [*_MONTHS, *(month[:3] for month in _MONTHS), 'sept']
_PIVOT = 69  # Of years of two digits, the first of the last century: as in POSIX.


def is_ambiguous(parts: Mapping[str, pa.Array]) -> np.ndarray | bool:
  """Returns which times have a day and a month that may be exchanged."""
  if 'mark' not in parts:
    return False
  first, other = _integers(parts['first']), _integers(parts['other'])
  has_dots = pc.equal(parts['mark'], '.').to_numpy(zero_copy_only=False)
  return ~has_dots & (first <= 12) & (other <= 12) & (first != other)


def assemble(parts: Mapping[str, pa.Array]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the times that parts make: int64 microseconds, and which ones there are."""
  year, month, day = _dates(parts)
  start = ((year - 1970) * 12 + month - 1).astype('M8[M]')
  days = start.astype('M8[D]').astype(np.int64) + day - 1
  stop = (start + 1).astype('M8[D]').astype(np.int64)
  is_good = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (days < stop)
  hour, minute, second = (
    _integers(parts[name]) if name in parts else np.zeros_like(year) for name in ('hour', 'minute', 'second')
  )
  if 'half' in parts:
    half = pc.ascii_lower(parts['half'])
    has_half = pc.not_equal(half, '').to_numpy(zero_copy_only=False)
    is_good &= ~has_half | (hour >= 1) & (hour <= 12)
    hour = np.where(has_half, hour % 12, hour) + 12 * pc.equal(half, 'p').to_numpy(zero_copy_only=False)
  fraction = pad(parts['fraction']) if 'fraction' in parts else 0
  times = ((days * 24 + hour) * 60 + minute) * 60 * SECOND + second * SECOND + fraction
  if 'zone' in parts:
    zone = parts['zone']
    if 'region' in parts:  # Java's: what the offset already says.
      zone = pc.if_else(pc.equal(zone, ''), parts['region'], zone)
    times, is_known = zones.to_utc(np.where(is_good, times, 0), zone)
    is_good &= is_known
  return times, is_good & (hour <= 23) & (minute <= 59) & (second <= 59)


def _dates(parts: Mapping[str, pa.Array]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns years, months and days, which need not exist."""
  if 'year' in parts:
    year = _integers(parts['year'])
  else:
    short = _integers(parts['short_year'])
    year = short + np.where(short < _PIVOT, 2000, 1900)
  if 'mark' in parts:
    first, other = _integers(parts['first']), _integers(parts['other'])
    is_american = (other > 12) & pc.not_equal(parts['mark'], '.').to_numpy(zero_copy_only=False)
    return year, np.where(is_american, first, other), np.where(is_american, other, first)
  if 'name' in parts:
    names = pa.array(_MONTH_NAMES, parts['name'].type)
    place = pc.index_in(pc.ascii_lower(parts['name']), value_set=names).fill_null(-1).to_numpy().astype(np.int64)
    place[place == len(_MONTH_NAMES) - 1] = _MONTHS.index('september')
    month = np.where(place < 0, 0, place % 12 + 1)
  else:
    month = _integers(parts['month']) if 'month' in parts else np.ones_like(year)
  return year, month, _integers(parts['day']) if 'day' in parts else np.ones_like(year)


def _integers(texts: pa.Array) -> np.ndarray:
  """Returns digits as int64, 0 where there are none."""
  return pc.if_else(pc.equal(texts, ''), '0', texts).cast(pa.int64()).to_numpy()


def pad(fractions: pa.Array) -> np.ndarray:
  """Returns the digits after a point as millionths."""
  return pc.ascii_rpad(pc.utf8_slice_codeunits(fractions, 0, 6), 6, '0').cast(pa.int64()).to_numpy()
