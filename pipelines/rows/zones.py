"""Zones of times as text: offsets, the names that every log uses, and those of the zone database."""

import datetime
import functools
from importlib import resources
import re
import zoneinfo

import numpy as np
import pyarrow as pa
import tzdata  # type: ignore[import-untyped]

# Patterns, in which case does not count.
OFFSET = '(?:utc|gmt)?[+-][0-9]{2}(?::?[0-9]{2})?'
NAME = 'z|[a-z]{2,5}|[a-z]+(?:/[a-z0-9_+-]+)+'

_HOUR = 3_600
_MICROSECONDS = 1_000_000
_OFFSET = re.compile('(?:utc|gmt)?([+-])([0-9]{2}):?([0-5][0-9])?', re.IGNORECASE)
# In hours. Others such as IST have several meanings. Those of America are RFC 2822's.
_FIXED = {
  '': 0,
  'Z': 0,
  'UT': 0,
  'UTC': 0,
  'GMT': 0,
  'WET': 0,
  'WEST': 1,
  'BST': 1,
  'CET': 1,
  'CEST': 2,
  'EET': 2,
  'EEST': 3,
  'MSK': 3,
  'JST': 9,
  'EST': -5,
  'EDT': -4,
  'CST': -6,
  'CDT': -5,
  'MST': -7,
  'MDT': -6,
  'PST': -8,
  'PDT': -7,
}
_EPOCH = datetime.datetime(1970, 1, 1)


def to_utc(times: np.ndarray, zones: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """Returns times in UTC.

  Args:
    times: int64 `[n]`, microseconds since 1970 by the clock of each zone.
    zones: Texts `[n]`; empty for UTC.

  Returns:
    int64 `[n]` microseconds, and bool `[n]` which ones have a known zone. The first of two times that a clock shows
    twice is meant.
  """
  encoded = zones.dictionary_encode()
  places, found = encoded.indices.to_numpy(), times.copy()
  is_known = np.zeros(len(times), bool)
  for place, name in enumerate(encoded.dictionary.to_pylist()):
    rows = np.flatnonzero(places == place)
    offset = _find(name)
    if isinstance(offset, int):
      found[rows] -= offset * _MICROSECONDS
    elif offset is not None:
      found[rows] = [_shift(time, offset) for time in times[rows].tolist()]
    is_known[rows] = offset is not None
  return found, is_known


def _find(name: str) -> int | zoneinfo.ZoneInfo | None:
  """Returns the seconds that a clock is ahead of UTC, or what says them for a time."""
  offset = _OFFSET.fullmatch(name)
  if offset:
    sign, hours, minutes = offset.groups()
    seconds = int(hours) * _HOUR + int(minutes or 0) * 60
    return (seconds if sign == '+' else -seconds) if int(hours) < 24 else None
  if name.upper() in _FIXED:
    return _FIXED[name.upper()] * _HOUR
  return _load(name) if '/' in name else None


@functools.cache
def _load(name: str) -> zoneinfo.ZoneInfo | None:
  # Not the system's database: workers may have another one, and the same rows would become other bytes.
  if not re.fullmatch(NAME, name, re.IGNORECASE):
    return None
  try:
    with resources.files(tzdata).joinpath('zoneinfo', *name.split('/')).open('rb') as file:
      return zoneinfo.ZoneInfo.from_file(file, name)
  except (ValueError, OSError):  # The last where there is none, or a folder.
    return None


def _shift(time: int, zone: zoneinfo.ZoneInfo) -> int:
  try:
    offset = (_EPOCH + datetime.timedelta(microseconds=time)).replace(tzinfo=zone).utcoffset()
  except OverflowError:  # Beyond the years that there are, where no zone matters.
    return time
  return time - (offset or datetime.timedelta()) // datetime.timedelta(microseconds=1)
