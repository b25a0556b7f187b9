"""What orders a client's rows: whole numbers, numbers or times, all kept as int64 that sort alike."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import columns

TYPES = ('integer', 'number', 'time')
NO_ORDER = 'no_order'

_WHOLE = r'^\s*[+-]?[0-9]{1,38}\s*$'
_INT64_MIN, _INT64_MAX = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_ZONE = r'[T ].*(Z|[+-][0-9]{2}:?[0-9]{2})$'
_MICROSECONDS = {'s': 1_000_000, 'ms': 1_000, 'us': 1}
_DAY = 86_400 * _MICROSECONDS['s']
# What the years 1 to 9999 are, in microseconds.
_FIRST_TIME, _LAST_TIME = (
    pa.scalar(time, pa.timestamp('us')).value for time in (datetime.datetime.min, datetime.datetime.max)
)


def read_order(values: pa.Array, order_type: str) -> columns.Values:
  """Reads a column as int64 in the order of its values.

  A row without a value is refused as `no_order`, one with a value of another type as `order_not_` and the type.

  Args:
    values: A column of any type. A time is a timestamp, a date, or ISO 8601 text; without a zone it is UTC.
    order_type: One of `TYPES`.
  """
  values = casts.unwrap(values)
  read = {'integer': _read_integers, 'number': _read_numbers, 'time': _read_times}[order_type]
  order = read(values)
  missing = casts.is_null(values)
  refused = {NO_ORDER: missing, f'order_not_{order_type}': casts.to_mask(order.is_null()) & ~missing}
  return columns.Values(pc.fill_null(order, 0), {reason: mask for reason, mask in refused.items() if mask.any()})


def _read_integers(values: pa.Array) -> pa.Array:
  content = casts.to_bytes(values)
  if content is not None:
    return _parse_integers(content.view(pa.large_string()))
  return _to_int64(casts.to_whole(values)) if casts.is_numeric(values.type) else pa.nulls(len(values), pa.int64())


def _parse_integers(text: pa.Array) -> pa.Array:
  digits = pc.if_else(pc.match_substring_regex(text, _WHOLE), pc.ascii_trim_whitespace(text), None)
  digits = pc.replace_substring_regex(digits, r'^\+', '')
  try:
    return digits.cast(pa.int64())
  except pa.ArrowInvalid:
    return _to_int64(digits.cast(casts.WHOLE))


def _to_int64(whole: pa.Array) -> pa.Array:
  try:
    return whole.cast(pa.int64())
  except pa.ArrowInvalid:
    return _within(whole.cast(casts.WHOLE), _INT64_MIN, _INT64_MAX).cast(pa.int64())


def _read_numbers(values: pa.Array) -> pa.Array:
  read = columns.Number().read(values)
  floats = np.array(pc.fill_null(read.values, 0.0).to_numpy(zero_copy_only=False), np.float64) + 0.0  # No minus zero.
  bits = floats.view(np.int64)
  # The bits of floats sort as integers do, those of negative ones backwards.
  return pa.array(np.where(bits < 0, _INT64_MIN - bits, bits), mask=_any(read.refused, len(values)))


def _read_times(values: pa.Array) -> pa.Array:
  text = casts.to_text(values)
  if text is not None:
    return _parse_times(text)
  if pa.types.is_date32(values.type):
    return _to_microseconds(values.cast(pa.int32()), _DAY)
  if pa.types.is_date64(values.type):
    return _to_microseconds(values, _MICROSECONDS['ms'])
  if not pa.types.is_timestamp(values.type):
    return pa.nulls(len(values), pa.int64())
  if values.type.unit == 'ns':
    return values.cast(pa.timestamp('us'), safe=False).cast(pa.int64())
  return _to_microseconds(values, _MICROSECONDS[values.type.unit])


def _to_microseconds(times: pa.Array, unit: int) -> pa.Array:
  """Returns times in units of so many microseconds as microseconds, null where 64 bits do not hold them."""
  counts = times.cast(pa.int64())
  return counts if unit == 1 else pc.multiply(_within(counts, -(_INT64_MAX // unit), _INT64_MAX // unit), unit)


def _parse_times(text: pa.Array) -> pa.Array:
  """Returns ISO 8601 texts as microseconds, null where one is not, or is of no year from 1 to 9999 in UTC."""
  has_zone = pc.any(pc.match_substring_regex(text, _ZONE)).as_py()
  try:
    times = text.cast(pa.timestamp('us', 'UTC' if has_zone else None))
  except pa.ArrowInvalid:
    times = pa.array([_parse_time(time) for time in text.to_pylist()], pa.timestamp('us'))
  return _within(times.cast(pa.int64()), _FIRST_TIME, _LAST_TIME)


def _parse_time(text: str | None) -> datetime.datetime | None:
  try:
    time = datetime.datetime.fromisoformat((text or '').strip())
    return time if time.tzinfo is None else time.astimezone(datetime.UTC).replace(tzinfo=None)
  except (ValueError, OverflowError):  # The second where the zone leads out of the years 1 to 9999.
    return None


def _within(values: pa.Array, first: int, last: int) -> pa.Array:
  """Returns the values, null instead of those outside."""
  return pc.if_else(pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last)), values, None)


def _any(refused: dict[str, np.ndarray], rows: int) -> np.ndarray:
  return np.logical_or.reduce([np.zeros(rows, bool), *refused.values()])
