"""Columns that say who and when, brought to one type whatever a file stores them as."""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import columns

# From here on a double may stand for several whole numbers.
_MAX_EXACT = 2.0**53


def to_plain(values: pa.Array) -> pa.Array:
  """Returns text of any kind, bytes that are UTF-8 and dictionaries of them as strings, whole doubles as int64.

  What has no such form is null; a column of any other type is returned as it is.
  """
  if pa.types.is_dictionary(values.type):
    values = values.dictionary_decode()
  if pa.types.is_floating(values.type):
    return _to_whole(values.cast(pa.float64()))
  if _is_text_of_another_kind(values.type):
    read = columns.Text().read(values)
    for refused in read.refused.values():
      read = read._replace(values=pc.if_else(pa.array(refused), None, read.values))
    return read.values.cast(pa.string())
  return values


def _to_whole(values: pa.Array) -> pa.Array:
  is_whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), _MAX_EXACT))
  return pc.if_else(is_whole, values, None).cast(pa.int64())


def _is_text_of_another_kind(kind: pa.DataType) -> bool:
  checks = (
      pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary,
      pa.types.is_binary_view, pa.types.is_fixed_size_binary,
  )  # fmt: skip
  return any(check(kind) for check in checks)
