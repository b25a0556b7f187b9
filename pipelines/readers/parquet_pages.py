"""How much memory the pages of a Parquet file take: their headers say it, and the footer need not agree.

A page is unpacked at once, whatever its size, and a reader has a page of each column in memory, with its dictionary.
"""

from collections.abc import Sequence
import os
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from pipelines.readers import base

# A file that is larger may take a multiple of its size.
MOST_BYTES, MOST_RATIO = 256 << 20, 4

_DICTIONARY = 2
# Fields of a header; that of a page of data, by its kind; and the field of that one which counts the values.
_KIND, _UNPACKED, _PACKED = 1, 2, 3
_VALUES_FIELDS = {0: 5, 3: 8}
_VALUES = 1
# To how many times its size a page can unpack at most; other codecs have no useful limit.
_RATIOS = {0: 1, 1: 22}  # None, Snappy.
# An old writer did not count the header of a dictionary; pyarrow reads so many bytes more.
_UNCOUNTED_BYTES = 100
# A header is looked for in so many bytes, and in more if it does not end in them.
_HEADER_BYTES, _GROWTH, _MOST_HEADER_BYTES = 1 << 10, 1 << 4, 1 << 24
_MOST_DEPTH, _MOST_BITS = 8, 64
# Types of the compact protocol of Thrift.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = 1, 2, 3, 7, 8, (9, 10), 11, 12
_INTEGERS = (4, 5, 6)


# At the end of a file: the size of the footer, and four letters.
_END_BYTES, _SIZE_BYTES = 8, 4
# Fields of the footer, of a row group, of a column and of its description.
_GROUPS, _COLUMNS, _DESCRIPTION = 4, 1, 3
_PATH, _CODEC, _NUM_VALUES, _SIZE, _FIRST_PAGE, _FIRST_DICTIONARY = 3, 4, 5, 7, 9, 11


class Chunk(NamedTuple):
  """What the footer says of a column of a row group: its path with dots, and the codec and bytes of its pages."""

  path: str
  codec: int
  values: int
  packed: int
  start: int


class _Page(NamedTuple):
  """What the header of a page says, and the bytes of the header itself."""

  is_dictionary: bool
  unpacked: int
  packed: int
  values: int
  header: int


def read_chunks(source: BinaryIO) -> list[list[Chunk]]:
  """Returns the columns of each row group. pyarrow would end the process over some damaged footers.

  Args:
    source: The file.

  Raises:
    ArrowInvalid: If the footer is damaged.
  """
  end = source.seek(-_END_BYTES, os.SEEK_END)
  size = int.from_bytes(source.read(_SIZE_BYTES), 'little')
  source.seek(max(end - size, 0))
  try:
    footer, _ = _read_struct(source.read(size), 0, 0)
    return [[_chunk(column[_DESCRIPTION]) for column in group[_COLUMNS]] for group in footer[_GROUPS]]
  except (IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
    raise pa.ArrowInvalid('a footer without a description of its columns') from error


def _chunk(description: Any) -> Chunk:
  if not isinstance(description, dict):
    raise TypeError
  numbers = [description[field] for field in (_CODEC, _NUM_VALUES, _SIZE, _FIRST_PAGE)]
  numbers.append(description.get(_FIRST_DICTIONARY) or numbers[-1])
  if not all(isinstance(number, int) for number in numbers):
    raise TypeError
  codec, values, size, *starts = numbers
  start = min(starts)
  return Chunk(b'.'.join(description[_PATH]).decode(), codec, values, size, max(start, 0))


def check(path: str, source: BinaryIO, chunks: Sequence[Chunk]) -> None:
  """Raises a DamagedFile if the pages of a row group take too much memory.

  Args:
    path: For the message.
    source: The file, of which the headers are read.
    chunks: Of the columns that are read.
  """
  source.seek(0, os.SEEK_END)
  limit = max(MOST_BYTES, MOST_RATIO * source.tell())
  most = sum(chunk.packed * _RATIOS.get(chunk.codec, limit) for chunk in chunks)
  if most > limit:
    most = sum(_measure(source, chunk) for chunk in chunks)
  if most > limit:
    raise base.DamagedFile(
      f'Expected the pages of a row group to take at most {limit >> 20:,} MiB of memory, found {most >> 20:,} MiB in '
      f'{path}: write it again with smaller pages, with pyarrow by data_page_size and write_batch_size.'
    )


def _measure(source: BinaryIO, chunk: Chunk) -> int:
  """Returns how many bytes the largest page of data and the dictionary of a column unpack to."""
  position = chunk.start
  stop = position + chunk.packed + _UNCOUNTED_BYTES
  largest: dict[bool, int] = {}
  values = chunk.values
  while values > 0 and position < stop:
    page = _read_page(source, position)
    largest[page.is_dictionary] = max(page.unpacked, largest.get(page.is_dictionary, 0))
    values -= page.values
    position += page.header + page.packed
  return sum(largest.values())


def _read_page(source: BinaryIO, position: int) -> _Page:
  size = _HEADER_BYTES
  while True:
    source.seek(position)
    content = source.read(size)
    try:
      fields, end = _read_struct(content, 0, 0)
      break
    except IndexError:
      if len(content) < size or size >= _MOST_HEADER_BYTES:
        raise pa.ArrowInvalid('a page whose header has no end') from None
      size *= _GROWTH
  kind = fields.get(_KIND)
  if not isinstance(kind, int):
    raise pa.ArrowInvalid('a page without its kind')
  of_data = fields.get(_VALUES_FIELDS[kind]) if kind in _VALUES_FIELDS else {_VALUES: 0}
  values = of_data.get(_VALUES) if isinstance(of_data, dict) else None
  sizes: tuple[Any, Any, Any] = (fields.get(_UNPACKED), fields.get(_PACKED), values)
  if not all(isinstance(number, int) and number >= 0 for number in sizes):
    raise pa.ArrowInvalid('a page without its size')
  return _Page(kind == _DICTIONARY, *sizes, end)


def _read_struct(content: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
  """Returns the fields of a struct, without those that are true or false, and where it ends."""
  if depth > _MOST_DEPTH:
    raise pa.ArrowInvalid('a header that is nested too deep')
  fields: dict[int, Any] = {}
  field = 0
  while content[place]:
    step, kind = divmod(content[place], 16)
    place += 1
    if step:
      field += step
    else:
      field, place = _read_integer(content, place)
    if kind in (_TRUE, _FALSE):
      continue
    fields[field], place = _read_value(content, place, kind, depth)
  return fields, place + 1


def _read_value(content: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
  """Returns a value, None for a byte or a float, and where it ends."""
  if kind in _INTEGERS:
    return _read_integer(content, place)
  if kind == _STRUCT:
    return _read_struct(content, place, depth + 1)
  if kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):
    return None, place + (8 if kind == _DOUBLE else 1)
  if kind == _BINARY:
    size, place = _read_varint(content, place)
    if size > len(content) - place:
      raise IndexError
    return content[place : place + size], place + size
  if kind in _LISTS:
    return _read_list(content, place, depth)
  raise pa.ArrowInvalid(f'a header with a field of type {kind}')


def _read_list(content: bytes, place: int, depth: int) -> tuple[list[Any], int]:
  size, kind = divmod(content[place], 16)
  place += 1
  if size == 15:
    size, place = _read_varint(content, place)
  values = []
  for _ in range(size):
    value, place = _read_value(content, place, kind, depth)
    values.append(value)
    if place >= len(content):
      raise IndexError
  return values, place


def _read_integer(content: bytes, place: int) -> tuple[int, int]:
  number, place = _read_varint(content, place)
  return (number >> 1) ^ -(number & 1), place


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
  number = shift = 0
  while content[place] & 0x80 and shift < _MOST_BITS:
    number |= (content[place] & 0x7F) << shift
    shift += 7
    place += 1
  return number | content[place] << shift, place + 1
