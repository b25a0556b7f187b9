"""What orders a client's rows: whole numbers, numbers or times, all kept as int64 that sort alike."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import columns

TYPES = ('integer', 'number', 'time')
NO_ORDER = 'no_order'

_WHOLE = r'^\s*[+-]?[0-9]{1,18}\s*$'
_INT64_MIN = np.int64(-(2**63))


def read_order(values: pa.Array, order_type: str) -> columns.Values:
  """Reads a column as int64 in the order of its values; a row without one has the reason `no_order`.

  Args:
    values: A column of any type. A time is a timestamp, a date, or ISO 8601 text; without a zone it is UTC.
    order_type: One of `TYPES`.
  """
  read = {'integer': _read_integers, 'number': _read_numbers, 'time': _read_times}[order_type]
  order = read(values)
  return columns.Values(pc.fill_null(order, 0), {NO_ORDER: order.is_null().to_numpy(zero_copy_only=False)})


def _read_integers(values: pa.Array) -> pa.Array:
  values = casts.to_plain(values)
  if pa.types.is_string(values.type):
    values = pc.if_else(pc.match_substring_regex(values, _WHOLE), pc.utf8_trim_whitespace(values), None)
    values = pc.replace_substring_regex(values, r'^\+', '')
  elif not pa.types.is_integer(values.type):
    return pa.nulls(len(values), pa.int64())
  elif pa.types.is_uint64(values.type):
    values = pc.if_else(pc.less(values, pa.scalar(2**63, pa.uint64())), values, None)
  return values.cast(pa.int64())


def _read_numbers(values: pa.Array) -> pa.Array:
  read = columns.Number().read(values)
  floats = np.array(pc.fill_null(read.values, 0.0).to_numpy(zero_copy_only=False), np.float64) + 0.0  # No minus zero.
  bits = floats.view(np.int64)
  # The bits of floats sort as integers do, those of negative ones backwards.
  return pa.array(np.where(bits < 0, _INT64_MIN - bits, bits), mask=_any(read.refused, len(values)))


def _read_times(values: pa.Array) -> pa.Array:
  values = casts.to_plain(values)
  if pa.types.is_string(values.type):
    try:
      values = values.cast(pa.timestamp('us', 'UTC') if _has_zone(values) else pa.timestamp('us'))
    except pa.ArrowInvalid:
      values = pa.array([_parse_time(text) for text in values.to_pylist()], pa.timestamp('us'))
  elif not pa.types.is_timestamp(values.type) and not pa.types.is_date(values.type):
    return pa.nulls(len(values), pa.int64())
  return values.cast(pa.timestamp('us'), safe=False).cast(pa.int64())


def _has_zone(values: pa.Array) -> bool:
  return bool(pc.any(pc.match_substring_regex(values, r'T.*(Z|[+-][0-9]{2}:?[0-9]{2})$')).as_py())


def _parse_time(text: str | None) -> datetime.datetime | None:
  try:
    time = datetime.datetime.fromisoformat((text or '').strip())
  except ValueError:
    return None
  return time if time.tzinfo is None else time.astimezone(datetime.UTC).replace(tzinfo=None)


def _any(refused: dict[str, np.ndarray], rows: int) -> np.ndarray:
  return np.logical_or.reduce([np.zeros(rows, bool), *refused.values()])
