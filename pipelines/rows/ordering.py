"""What orders a client's rows: whole numbers, numbers or times, all kept as int64 that sort alike."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import columns
from pipelines.rows import times

TYPES = ('integer', 'number', 'time')
NO_ORDER, AMBIGUOUS = 'no_order', 'ambiguous_date'

# With a point where a program took it for a double, such as a column with gaps.
_WHOLE = r'^\s*[+-]?[0-9]{1,38}(\.0*)?\s*$'
_INT64_MIN, _INT64_MAX = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_MICROSECONDS = {'s': 1_000_000, 'ms': 1_000, 'us': 1}
_DAY = 86_400 * _MICROSECONDS['s']
# Refused values that are looked at, to say what they look like.
_LOOKED_AT = 100


def read_order(values: pa.Array, order_type: str, pattern: str | None = None) -> columns.Values:
  """Reads a column as int64 in the order of its values.

  A row without a value is refused as `no_order`, one with a value of another type as `order_not_` and the type, and a
  time that can be read in two ways as `ambiguous_date`.

  Args:
    values: A column of any type. A time is a timestamp, a date, or what `times` says; without a zone it is UTC.
    order_type: One of `TYPES`.
    pattern: Of times that have a form of their own, as `time_forms.compile_format` gives it.
  """
  values = casts.unwrap(values)
  missing = casts.is_null(values)
  ambiguous = np.zeros(len(values), bool)
  if order_type == 'time':
    order, ambiguous = _read_times(values, pattern)
  else:
    order = (_read_integers if order_type == 'integer' else _read_numbers)(values)
  wrong = casts.to_mask(order.is_null()) & ~missing & ~ambiguous
  refused = {NO_ORDER: missing, f'order_not_{order_type}': wrong, AMBIGUOUS: ambiguous}
  return columns.Values(
    pc.fill_null(order, 0),
    {reason: mask for reason, mask in refused.items() if mask.any()},
    found=_describe_wrong(values, wrong, order_type),
  )


def _describe_wrong(values: pa.Array, wrong: np.ndarray, order_type: str) -> dict[str, int]:
  """Returns what the first of some values look like that are not of the type, and how many do."""
  if order_type == 'time':
    return {}
  return _count_times(values, wrong) | (columns.count_other_decimals(values, wrong) if order_type == 'number' else {})


def _count_times(values: pa.Array, wrong: np.ndarray) -> dict[str, int]:
  """Returns how many of the first of some values are times."""
  rows = np.flatnonzero(wrong)[:_LOOKED_AT]
  if not len(rows):
    return {}
  order, ambiguous = _read_times(values.take(pa.array(rows)), None)
  number = int(np.count_nonzero(casts.to_mask(order.is_valid()) | ambiguous))
  return {'time': number} if number else {}


def _read_integers(values: pa.Array) -> pa.Array:
  content = casts.to_bytes(values)
  if content is not None:
    return _parse_integers(content.view(pa.large_string()))
  return _to_int64(casts.to_whole(values)) if casts.is_numeric(values.type) else pa.nulls(len(values), pa.int64())


def _parse_integers(text: pa.Array) -> pa.Array:
  digits = pc.if_else(pc.match_substring_regex(text, _WHOLE), pc.ascii_trim_whitespace(text), None)
  digits = pc.replace_substring_regex(digits, r'^\+|\.0*$', '')
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


def _read_times(values: pa.Array, pattern: str | None) -> times.Times:
  """Returns what is null or ambiguous as well."""
  text = casts.to_text(values)
  if text is not None:
    return times.parse(text, pattern)
  if casts.is_numeric(values.type):
    # A format such as %Y%m%d may be of numbers.
    return times.from_numbers(values) if pattern is None else times.parse(values.cast(pa.large_string()), pattern)
  return times.Times(_read_timestamps(values), np.zeros(len(values), bool))


def _read_timestamps(values: pa.Array) -> pa.Array:
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


def _within(values: pa.Array, first: int, last: int) -> pa.Array:
  """Returns the values, null instead of those outside."""
  return pc.if_else(pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last)), values, None)


def _any(refused: dict[str, np.ndarray], rows: int) -> np.ndarray:
  return np.logical_or.reduce([np.zeros(rows, bool), *refused.values()])
