"""What the first bytes of a file say it is, for messages that name it and for files whose names do not say it."""

import json
import re

# How much of the beginning is looked at: a tar archive says so at byte 257.
HEAD_BYTES = 1 << 12

PARQUET, AVRO = b'PAR1', b'Obj\x01'
_MAGIC = {
  PARQUET: 'a Parquet file',
  AVRO: 'an Avro file',
  b'PK\x03\x04': 'a zip archive',
  b'PK\x05\x06': 'an empty zip archive',
  b'\x1f\x8b\x08': 'a gzip file',
  b'\x28\xb5\x2f\xfd': 'a zstd file',
  b'BZh': 'a bzip2 file',
  b'\xfd7zXZ\x00': 'an xz file',
  b'\x04\x22\x4d\x18': 'an lz4 file',
  b'\x1f\x9d': 'a file of the program compress (.Z)',
  b'\x1f\xa0': 'a file of the program compress (.Z)',
  b'\xff\x06\x00\x00sNaPpY': 'a framed snappy file',
  b'7z\xbc\xaf\x27\x1c': 'a 7z archive',
  b'Rar!\x1a\x07': 'a rar archive',
  b'\x89PNG\r\n\x1a\n': 'a PNG image',
  b'\xff\xd8\xff': 'a JPEG image',
  b'GIF8': 'a GIF image',
  b'%PDF-': 'a PDF document',
  b'SQLite format 3\x00': 'an SQLite database',
  b'ORC': 'an ORC file',
  b'ARROW1': 'an Arrow file',
  b'FEA1': 'a Feather file',
  b'\x93NUMPY': 'a NumPy array',
  b'\x89HDF\r\n\x1a\n': 'an HDF5 file',
  b'SEQ\x06': 'a Hadoop sequence file',
  b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1': 'an old Office document',
  b'\x7fELF': 'a program',
  b'\x00\x00\x08\x03': 'IDX images',
  b'\x00\x00\x08\x01': 'IDX labels',
  b'\x00\x00\x0c\x02': 'IDX labels',
}
_TAR = (257, b'ustar')
_JSON_ARRAY = re.compile(rb'(\xef\xbb\xbf)?\s*\[\s*\{')
_MARKUP = re.compile(rb'(\xef\xbb\xbf)?\s*<(!doctype html|html|\?xml)', re.IGNORECASE)
_CRC_POLYNOMIAL = 0x82F63B78
_CRC_MASK = 0xA282EAD8


def name(head: bytes) -> str | None:
  """Returns what a file with these first bytes is, such as `a PNG image`, or None if they do not say it."""
  if head[_TAR[0] :].startswith(_TAR[1]):
    return 'a tar archive'
  if is_tfrecord(head):
    return 'a TFRecord file'
  # ORC is a word as well.
  found = next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)
  return None if found == 'an ORC file' and b'\x00' not in head else found


def name_any(head: bytes) -> str:
  """Like `name`, for a file that should be a binary one."""
  if not head:
    return 'an empty file'
  return name(head) or ('other bytes' if b'\x00' in head else 'what looks like text')


def name_document(head: bytes) -> str | None:
  """Returns what a text is that is no lines of values, or None."""
  if _JSON_ARRAY.match(head):
    return 'a JSON array'
  return 'a web page or XML' if _MARKUP.match(head) else None


def find_text_format(head: bytes) -> str | None:
  """Returns `jsonl`, `tsv` or `csv` as the first line of a text says, or None if it says nothing."""
  text = head.decode('utf-8-sig', errors='replace').lstrip()
  line = text.splitlines()[0] if text else ''
  if line.startswith('{'):
    return 'jsonl'
  counts = {'tsv': line.count('\t'), 'csv': line.count(',')}
  found = max(counts, key=lambda key: counts[key])
  return found if counts[found] else None


def is_json_line(head: bytes) -> bool:
  """Whether the first line is a JSON object, which no header of delimited values is."""
  line = head.lstrip().split(b'\n')[0]
  try:
    return isinstance(json.loads(line.decode('utf-8-sig')), dict)
  except (ValueError, RecursionError):
    return False


def is_tfrecord(head: bytes) -> bool:
  """Whether the first twelve bytes are the length of a record and the checksum of the length."""
  return len(head) >= 12 and masked_crc(head[:8]) == int.from_bytes(head[8:12], 'little')


def masked_crc(content: bytes) -> int:
  """Returns the CRC-32C of a few bytes, masked as TFRecord files have it."""
  crc = 0xFFFFFFFF
  for byte in content:
    crc ^= byte
    for _ in range(8):
      crc = crc >> 1 ^ (_CRC_POLYNOMIAL if crc & 1 else 0)
  crc ^= 0xFFFFFFFF
  return ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFFFFFF
