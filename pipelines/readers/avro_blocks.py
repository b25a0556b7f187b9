"""The blocks of Avro files, unpacked and checked before fastavro reads them.

fastavro takes what a file says for true: a block may unpack to any size, claim any number of records that take no byte,
and hold records in records until the process ends.
"""

import bz2
from collections.abc import Iterator
import io
import json
import lzma
from typing import Any, BinaryIO
import zlib

import pyarrow as pa

from pipelines.readers import contents
from pipelines.readers import streams

# Of one block, unpacked. Writers make blocks of some kilobytes to some megabytes.
_BLOCK_BYTES = 128 << 20
_HEADER_BYTES = 16 << 20
_SYNC_BYTES = 16
# Records that take no byte, as those of null fields, can be claimed at will.
_EMPTY_RECORDS = 1 << 20
_DEPTH = 64
_MOST_VALUES = 100_000
_XZ_MEMORY = 128 << 20
_CRC_BYTES = 4
_RECORDS = ('record', 'error')
_CODECS = ('null', 'deflate', 'bzip2', 'snappy', 'xz', 'zstandard')


class UnsafeFile(ValueError):
  """A file that is not damaged and yet cannot be read."""


class Blocks:
  """A file for fastavro: the same one, unpacked.

  Attributes:
    contains_itself: Whether a type in its schema does, so that values may have any depth.
  """

  def __init__(self, file: BinaryIO, path: str):
    """Reads the header.

    Raises:
      DamagedFile: If it is no Avro file.
      UnsafeFile: If its schema or codec cannot be read.
    """
    head = file.read(contents.HEAD_BYTES)
    self._size = file.seek(0, 2)
    file.seek(len(contents.AVRO))
    if not head.startswith(contents.AVRO):
      raise streams.wrong_content(path, 'an Avro file', contents.name_any(head))
    self._file = file
    metadata = self._read_metadata()
    self._sync = self._read(_SYNC_BYTES)
    self._codec = metadata.get('avro.codec', b'null').decode()
    if self._codec not in _CODECS:
      raise UnsafeFile(f'a codec {self._codec[:40]!r}: write it with one of {", ".join(_CODECS)}')
    self.contains_itself = _check_schema(json.loads(metadata['avro.schema']))
    self._place = 0
    self._ready = io.BytesIO(contents.AVRO + _pack_metadata(metadata['avro.schema']) + self._sync)

  def read(self, size: int) -> bytes:
    """Returns what fastavro asks for: parts of the header or of a block, which end together."""
    content = self._ready.read(size)
    if size and not content:
      self._ready = io.BytesIO(self._read_block())
      content = self._ready.read(size)
    self._place += len(content)
    return content

  def tell(self) -> int:
    """Returns how much has been read."""
    return self._place

  def _read_block(self) -> bytes:
    if self._file.tell() == self._size:
      return b''
    records, size = self._read_number(), self._read_number()
    content = _decompress(self._codec, self._read(size))
    if not 0 <= records <= max(len(content), _EMPTY_RECORDS):
      raise ValueError(f'a block of {len(content)} bytes that claims {records} records')
    if self._read(_SYNC_BYTES) != self._sync:
      raise ValueError('a block without its mark')
    return _pack_number(records) + _pack_number(len(content)) + content + self._sync

  def _read_metadata(self) -> dict[str, bytes]:
    metadata: dict[str, bytes] = {}
    while count := self._read_number():
      if count < 0:
        self._read_number()
      for _ in range(abs(count)):
        key = self._read(self._read_number()).decode()
        metadata[key] = self._read(self._read_number())
      if self._file.tell() > _HEADER_BYTES:
        raise UnsafeFile(f'a header of more than {_HEADER_BYTES} bytes: write it with less metadata')
    return metadata

  def _read_number(self) -> int:
    """Reads a number in zigzag form, seven bits a byte."""
    number = 0
    for place in range(10):
      (byte,) = self._read(1)
      number |= (byte & 0x7F) << 7 * place
      if byte < 0x80:
        return number >> 1 ^ -(number & 1)
    raise ValueError('a number of more than 64 bits')

  def _read(self, size: int) -> bytes:
    if not 0 <= size <= self._size - self._file.tell():
      # No EOFError, which fastavro takes for the end of a file that is whole.
      raise ValueError('its end is missing')
    return self._file.read(size)


def _pack_number(number: int) -> bytes:
  number <<= 1
  packed = bytearray()
  while number > 0x7F:
    packed.append(number & 0x7F | 0x80)
    number >>= 7
  return bytes([*packed, number])


def _pack_metadata(schema: bytes) -> bytes:
  entries = ((b'avro.schema', schema), (b'avro.codec', b'null'))
  packed = (_pack_number(len(text)) + text for entry in entries for text in entry)
  return _pack_number(len(entries)) + b''.join(packed) + _pack_number(0)


def _decompress(codec: str, content: bytes) -> bytes:
  if codec == 'null':
    return content
  if codec == 'snappy':
    return _decompress_snappy(content)
  if codec == 'zstandard':
    found = pa.CompressedInputStream(pa.BufferReader(content), 'zstd').read(_BLOCK_BYTES + 1)
  else:
    unpacker: Any = {
      'deflate': lambda: zlib.decompressobj(-zlib.MAX_WBITS),
      'bzip2': bz2.BZ2Decompressor,
      'xz': lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
    }[codec]()
    found = unpacker.decompress(content, _BLOCK_BYTES + 1)
    if len(found) <= _BLOCK_BYTES and not unpacker.eof:
      raise ValueError('the end of a block is missing')
  _check_size(len(found))
  return found


def _decompress_snappy(content: bytes) -> bytes:
  size = place = 0
  for place, byte in enumerate(content[:5]):
    size |= (byte & 0x7F) << 7 * place
    if byte < 0x80:
      break
  _check_size(size)
  packed, checksum = content[:-_CRC_BYTES], content[-_CRC_BYTES:]
  found = pa.Codec('snappy').decompress(packed, size, asbytes=True)
  if zlib.crc32(found) != int.from_bytes(checksum, 'big'):
    raise ValueError('a block with another checksum')
  return found


def _check_size(size: int) -> None:
  if size > _BLOCK_BYTES:
    raise UnsafeFile(f'a block that unpacks to more than {_BLOCK_BYTES} bytes: write smaller blocks')


def _check_schema(schema: Any) -> bool:
  """Checks that values of a schema take memory only for bytes of the file.

  Returns:
    Whether a type contains itself.

  Raises:
    UnsafeFile: If a value may take any memory.
  """
  names: dict[str, bool] = {}
  sizes: dict[str, int] = {}
  kinds = list(_walk(schema, (), 0))
  # What a type is made of comes before it, so that nothing is asked twice.
  for kind, _ in reversed(kinds):
    if isinstance(kind, dict) and kind.get('type') in _RECORDS:
      name = _short(kind.get('name'))
      names[name], sizes[name] = _takes_bytes(kind, names), _count_values(kind, sizes)
      if kind is not schema and not names[name]:
        raise UnsafeFile('records that take no bytes: remove such fields')
      if sizes[name] > _MOST_VALUES:
        raise UnsafeFile(f'records of more than {_MOST_VALUES} values: write flat records')
    if isinstance(kind, dict) and kind.get('type') == 'array' and not _takes_bytes(kind.get('items'), names):
      raise UnsafeFile('lists of values that take no bytes: remove such fields')
  return any(isinstance(kind, str) and _short(kind) in inside for kind, inside in kinds)


def _walk(kind: Any, inside: tuple[str, ...], depth: int) -> Iterator[tuple[Any, tuple[str, ...]]]:
  """Yields all types in a schema, each before those in it, and the names of the records that each is in."""
  if depth > _DEPTH:
    raise UnsafeFile(f'types within types, more than {_DEPTH} deep: write flat records')
  yield kind, inside
  if isinstance(kind, dict) and kind.get('type') in _RECORDS:
    inside = (*inside, _short(kind.get('name')))
  for member in _inner_types(kind):
    yield from _walk(member, inside, depth + 1)


def _count_values(kind: Any, sizes: dict[str, int]) -> int:
  """Returns how many values there are in one of a type, where a list has one; `sizes` says it of records."""
  if isinstance(kind, str):
    return sizes.get(_short(kind), 1)
  return 1 + sum(_count_values(member, sizes) for member in _inner_types(kind))


def _inner_types(kind: Any) -> list[Any]:
  if isinstance(kind, list):
    return kind
  if not isinstance(kind, dict):
    return []
  outer = kind.get('type')
  if outer in _RECORDS:
    fields = kind.get('fields')
    return [field.get('type') for field in fields or () if isinstance(field, dict)] if isinstance(fields, list) else []
  if outer in ('array', 'map'):
    return [kind.get('items' if outer == 'array' else 'values')]
  return [] if outer in ('enum', 'fixed') else [outer]


def _takes_bytes(kind: Any, names: dict[str, bool]) -> bool:
  """Whether each value of a type takes a byte at least; `names` says it of records."""
  if isinstance(kind, dict):
    if kind.get('type') in ('array', 'map', 'enum'):
      return True
    if kind.get('type') == 'fixed':
      return kind.get('size') != 0
    name = _short(kind.get('name'))
    return names[name] if name in names else any(_takes_bytes(member, names) for member in _inner_types(kind))
  return isinstance(kind, list) or (isinstance(kind, str) and kind != 'null' and names.get(_short(kind), True))


def _short(name: Any) -> str:
  """Returns the name of a type without the spaces that it may be in."""
  return str(name).rpartition('.')[2]
