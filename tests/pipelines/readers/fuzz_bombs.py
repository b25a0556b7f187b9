"""Small files that ask for much memory: what they unpack to, or what they claim to hold."""

from collections.abc import Sequence
import functools
import gzip
import io
import lzma
import zipfile
import zlib

import fastavro
import numpy as np
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from pipelines.readers import contents

_BOMB_BYTES, _PIECE_BYTES = 272 << 20, 1 << 24


def frame(record: bytes, length: int | None = None) -> bytes:
  """Returns a record of a TFRecord file, which may claim another length."""
  size = (len(record) if length is None else length).to_bytes(8, 'little')
  return b''.join(text + contents.masked_crc(text).to_bytes(4, 'little') for text in (size, record))


def _gzip_bomb(before: bytes, repeated: bytes = b'x') -> bytes:
  """Returns a file that begins in some way and unpacks to hundreds of megabytes: one member again and again."""
  return gzip.compress(before) + gzip.compress(repeated * _PIECE_BYTES, 1) * (_BOMB_BYTES // _PIECE_BYTES)


def _deflate_bomb() -> bytes:
  packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
  piece = packer.compress(b'x' * _PIECE_BYTES) + packer.flush(zlib.Z_FULL_FLUSH)
  return piece * (_BOMB_BYTES // _PIECE_BYTES) + packer.flush()


def _xz_bomb(before: bytes) -> bytes:
  """Returns a file of that kind as xz: one member, as nothing is unpacked beyond the end of a member."""
  packer = lzma.LZMACompressor(preset=0)
  pieces = [packer.compress(piece) for piece in (before, *[b'x' * _PIECE_BYTES] * (_BOMB_BYTES // _PIECE_BYTES))]
  return b''.join([*pieces, packer.flush()])


def _zip_bomb(before: bytes) -> bytes:
  """Returns a file of that kind as a zip archive."""
  file = io.BytesIO()
  archive = zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1)
  with archive, archive.open('log', 'w') as member:
    for piece in (before, *[b'x' * _PIECE_BYTES] * (_BOMB_BYTES // _PIECE_BYTES)):
      member.write(piece)
  return file.getvalue()


@functools.cache
def text_bombs() -> Sequence[bytes]:
  """Returns texts that are deep, long, or unpack to much."""
  deep = b'{"user": "u", "time": 1, "text": ' + b'[' * (1 << 20)
  digits = b'{"user": "u", "text": "x", "time": ' + b'1' * (1 << 20) + b'}\n'
  header = b'user,time,text\nu,1,"'
  return [deep, digits, _gzip_bomb(header), _gzip_bomb(b'', b'\n')]


def packed_bombs() -> Sequence[bytes]:
  """Returns lines without an end, packed in other ways: what unpacks them is the same for all texts."""
  return [_xz_bomb(b'{"user": "'), _zip_bomb(b'{"user": "')]


def parquet_bombs() -> Sequence[bytes]:
  """Returns files that ask for a gigabyte: a value of a megabyte in all rows, and missing values of such a width."""
  rows = 1024
  wide = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(['x' * (1 << 20)]))
  others = {'user': pa.array(['u'] * rows), 'time': pa.array([1] * rows)}
  seeds = []
  for text in (wide, pa.nulls(64, pa.binary(1 << 24))):
    file = io.BytesIO()
    table = pa.table({**{name: values[: len(text)] for name, values in others.items()}, 'text': text})
    arrow_parquet.write_table(table, file, store_schema=False)
    seeds.append(file.getvalue())
  return seeds


def _number(number: int) -> bytes:
  """Returns a number that is not negative as Avro has it."""
  number <<= 1
  packed = b''
  while number > 0x7F:
    packed, number = packed + bytes([number & 0x7F | 0x80]), number >> 7
  return packed + bytes([number])


def avro_bombs() -> Sequence[bytes]:
  """Returns blocks that claim any number of records or bytes."""
  kinds: Sequence[tuple[str, str]] = (('null', 'null'), ('string', 'deflate'))
  bombs = []
  for kind, codec in kinds:
    fields = [{'name': name, 'type': kind} for name in ('user', 'time', 'text')]
    file = io.BytesIO()
    fastavro.writer(file, {'type': 'record', 'name': 'log', 'fields': fields}, [], codec)
    header = file.getvalue()
    packed = _deflate_bomb() if codec == 'deflate' else b''
    bombs += [header + _number(1 << 40) + _number(len(packed)) + packed + header[-16:]]
    bombs += [header + _number(1) + _number(1 << 50) + packed]
  return bombs


def tfrecord_bombs() -> Sequence[bytes]:
  """Returns records that claim any length."""
  return [frame(b'x', 1 << 60), _gzip_bomb(frame(b'', 1 << 30)[:12]), frame(b'x', 63 << 20)]


def femnist_bombs(whole_file: bytes) -> Sequence[bytes]:
  """Returns arrays that claim terabytes, beside whole ones."""
  bombs = []
  claims = (
    ('train_images', '(1099511627776, 28, 28)', '|u1'),
    ('train_labels', '(9999999999,)', '|u1'),
    ('writer_names', '(2,)', '<U999999999'),
  )
  for name, shape, kind in claims:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole_file)) as whole, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as made:
      for member in whole.namelist():
        header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        claim = b'\x93NUMPY\1\0' + len(header).to_bytes(2, 'little') + header + bytes(99)
        made.writestr(member, claim if member == f'{name}.npy' else whole.read(member))
    bombs.append(file.getvalue())
  return bombs


def idx_bombs() -> Sequence[bytes]:
  """Returns images and labels that claim terabytes."""
  sizes = ((1 << 32) - 1, 4096, 4096), ((1 << 32) - 1, 0, 0), (3, (1 << 32) - 1, (1 << 32) - 1)
  claims = [b'\0\0\x08\3' + np.array(shape, '>u4').tobytes() for shape in sizes]
  return [*claims, *map(_gzip_bomb, claims), b'\0\0\x0c\2' + np.array([(1 << 32) - 1] * 2, '>u4').tobytes()]
