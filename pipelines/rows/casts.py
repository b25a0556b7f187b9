"""Columns however a file stores them, brought to what all kinds of columns are read from."""

import binascii
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# From here on a double may stand for several whole numbers.
MAX_EXACT = 2.0**53
# Holds every whole number that Arrow does.
WHOLE = pa.decimal256(76, 0)

_UUID_BYTES = 16
# How many digits of a UUID stand before each of its hyphens.
_UUID_GROUPS = (8, 12, 16, 20)


def unwrap(values: pa.Array | pa.ChunkedArray) -> pa.Array:
  """Returns the values as one array, without what only says how they are stored; a UUID as its usual text."""
  kind = values.type
  if isinstance(values, pa.ChunkedArray):
    return unwrap(values.combine_chunks())
  if isinstance(values, pa.ExtensionArray):
    return _format_uuids(values.storage) if kind == pa.uuid() else unwrap(values.storage)
  if pa.types.is_dictionary(kind):
    return unwrap(values.dictionary).take(values.indices)
  if pa.types.is_run_end_encoded(kind):
    ends = np.clip(values.run_ends.to_numpy().astype(np.int64) - values.offset, 0, len(values))
    return unwrap(values.values).take(pa.array(np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))))
  if pa.types.is_string_view(kind):
    return values.cast(pa.large_string())
  return values.cast(pa.large_binary()) if pa.types.is_binary_view(kind) else values


def is_numeric(kind: pa.DataType) -> bool:
  """Whether the type of unwrapped values is one of numbers."""
  return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_string(kind: pa.DataType) -> bool:
  """Whether the type of unwrapped values is one of text."""
  return kind in (pa.string(), pa.large_string())


def to_bytes(values: pa.Array) -> pa.Array | None:
  """Returns unwrapped text and bytes as large_binary, anything else as None."""
  is_binary = values.type in (pa.binary(), pa.large_binary()) or pa.types.is_fixed_size_binary(values.type)
  return values.cast(pa.large_binary()) if is_binary or is_string(values.type) else None


def to_text(values: pa.Array) -> pa.Array | None:
  """Returns unwrapped text and bytes as large_string, null where they are not UTF-8; anything else as None."""
  content = to_bytes(values)
  return None if content is None else view_text(content)


def view_text(content: pa.LargeBinaryArray) -> pa.Array:
  """Returns bytes as large_string, null where they are not UTF-8."""
  # Text is looked at as well: Parquet files say what is text, and nobody makes them keep their word.
  is_text = _is_utf8(content)
  if not is_text.all():
    content = pc.if_else(pa.array(is_text), content, None)
  return content.view(pa.large_string())


def compose(text: pa.Array) -> pa.Array:
  """Returns large_string text, null or not, in Unicode form NFC: a letter and its mark are one character if they can.

  Python's tables alone decide, so that a text has the same form whatever the others of its block are.
  """
  present = text.drop_null() if text.null_count else text
  # Most text is ASCII or in this form already, and that is seen in all texts at once.
  if unicodedata.is_normalized('NFC', str(content_of(present), 'utf-8')):
    return text
  composed = [value and unicodedata.normalize('NFC', value) for value in text.to_pylist()]
  return pa.array(composed, text.type)


def content_of(text: pa.Array) -> memoryview:
  """Returns the bytes of all values of texts or byte strings, one after the other; of a null, there may be any."""
  _, offsets, content = text.buffers()
  if not len(text) or content is None:
    return memoryview(b'')
  is_large = text.type in (pa.large_string(), pa.large_binary())
  places = np.frombuffer(offsets, np.int64 if is_large else np.int32)
  start, stop = places[[text.offset, text.offset + len(text)]].tolist()
  return memoryview(content)[start:stop]


def with_points(values: pa.Array, decimal: str) -> pa.Array:
  """Returns texts with a point before their decimals; with points in them already they become no numbers."""
  if decimal == '.' or not is_string(values.type):
    return values
  return pc.replace_substring(pc.replace_substring(values, '.', ';'), decimal, '.')


def to_whole(values: pa.Array) -> pa.Array:
  """Returns unwrapped numbers as integers or `WHOLE`, null where one is not whole or a double that may be another."""
  if pa.types.is_integer(values.type):
    return values
  if pa.types.is_decimal(values.type):
    whole = values.cast(WHOLE, safe=False)
    return pc.if_else(pc.equal(whole.cast(values.type, safe=False), values), whole, None)
  numbers = values.cast(pa.float64())
  is_whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), MAX_EXACT))
  return pc.if_else(is_whole, numbers, None).cast(pa.int64())


def to_names(values: pa.Array) -> pa.Array | None:
  """Returns the text of unwrapped texts, numbers and bools as large_binary, anything else as None."""
  is_number = is_numeric(values.type)
  if not is_number and not pa.types.is_boolean(values.type):
    return to_bytes(values)
  names = values.cast(pa.large_string())
  if is_number and not pa.types.is_integer(values.type):
    names = pc.coalesce(to_whole(values).cast(pa.large_string()), names)
  return names.cast(pa.large_binary())


def to_ids(values: pa.Array) -> pa.Array:
  """Returns unwrapped text, bytes and whole numbers as strings, null where a value is none of them."""
  if is_numeric(values.type):
    return to_whole(values).cast(pa.string())
  text = to_text(values)
  return pa.nulls(len(values), pa.string()) if text is None else text.cast(pa.string())


def is_null(values: pa.Array) -> np.ndarray:
  """Returns which of the unwrapped values are null."""
  return to_mask(values.is_null())


def to_mask(values: pa.Array) -> np.ndarray:
  """Returns bools for NumPy, False for null."""
  # Mostly there are none, and that is quicker to count than to write down.
  return values.fill_null(False).to_numpy(zero_copy_only=False) if values.true_count else np.zeros(len(values), bool)


def _format_uuids(values: pa.FixedSizeBinaryArray) -> pa.Array:
  start, stop = (place * _UUID_BYTES for place in (values.offset, values.offset + len(values)))
  octets = memoryview(values.buffers()[1])[start:stop]
  digits = np.frombuffer(binascii.hexlify(octets), np.uint8).reshape(-1, 2 * _UUID_BYTES)
  characters = np.insert(digits, _UUID_GROUPS, ord('-'), axis=1)
  kind = pa.binary(characters.shape[1])
  text = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(characters)]).cast(pa.string())
  return pc.if_else(values.is_valid(), text, None)


def _is_utf8(content: pa.Array) -> np.ndarray:
  """Returns which of the byte strings are UTF-8, halving until the ones that are not are alone."""
  try:
    content.cast(pa.large_string())
  except pa.ArrowInvalid:
    half = len(content) // 2
    if not half:
      return np.zeros(1, bool)
    return np.concatenate([_is_utf8(content[:half]), _is_utf8(content[half:])])
  return np.ones(len(content), bool)
