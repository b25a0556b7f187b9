"""Compressed files as streams: gzip, zlib, bzip2, xz, zstd, lz4, and zip archives of one file, by their first bytes.

No more is unpacked than is asked for: a small file that unpacks to a large one takes no more memory than others.
"""

import bz2
from collections.abc import Callable, Iterator
import contextlib
import lzma
import struct
from typing import Any, BinaryIO, NamedTuple, cast
import zipfile
import zlib

from isal import igzip_lib
import pyarrow as pa

from pipelines.readers import base
from pipelines.readers import contents

# What the libraries raise over damaged content; NotImplementedError is a method that zipfile does not know.
# Its stub takes the error of isal for an object.
ERRORS: tuple[type[Exception], ...] = (
  EOFError,
  OSError,
  zlib.error,
  cast(Any, igzip_lib.IsalError),
  lzma.LZMAError,
  zipfile.BadZipFile,
)

_INPUT_BYTES = 1 << 18
# What `xz -9` needs is half of it: a file may ask for 4 GB.
_XZ_MEMORY = 128 << 20
_ZIP = b'PK\x03\x04'
_ZLIB_DICTIONARY = 0x20
_HIDDEN = ('.', '_')
_SHOWN_NAMES = 3


class _Kind(NamedTuple):
  """How members of a kind begin, and what unpacks one."""

  magic: bytes
  make: Callable[[], Any]


_MEMBERS = (
  _Kind(b'\x1f\x8b\x08', lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)),
  _Kind(b'BZh', bz2.BZ2Decompressor),
  _Kind(b'\xfd7zXZ\x00', lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
)
_ZLIB = _Kind(b'\x78', lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB))
# The second begins what the parallel `pzstd` writes.
_ARROW = {b'\x28\xb5\x2f\xfd': 'zstd', b'\x50\x2a\x4d\x18': 'zstd', b'\x04\x22\x4d\x18': 'lz4'}


class Stream:
  """What is in a file.

  Attributes:
    head: Its first bytes, which `read` returns again.
  """

  def __init__(self, file: Any):
    self._file = file
    self.head = file.read(contents.HEAD_BYTES)
    self._ahead = self.head

  def read(self, size: int) -> bytes:
    """Returns as many bytes as asked for, fewer only at the end."""
    if not self._ahead:
      return self._file.read(size)
    first, self._ahead = self._ahead[:size], self._ahead[size:]
    return first + self._file.read(size - len(first)) if len(first) < size else first

  def seek(self, position: int) -> None:
    """Goes to a byte of a file that is not packed."""
    self._ahead = b''
    self._file.seek(position)


def is_packed(head: bytes) -> bool:
  """Whether a file with these first bytes is one that `unpack` unpacks."""
  return head.startswith((_ZIP, *_ARROW, *(kind.magic for kind in _MEMBERS)))


def unpack(file: BinaryIO, path: str, with_zlib: bool = False) -> Stream:
  """Returns what is in an open file, unpacked if its first bytes say that it is packed.

  Args:
    file: At its beginning.
    path: For messages.
    with_zlib: Whether a file may be a zlib stream, whose first two bytes are a text's as well.

  Raises:
    DamagedFile: If it is an archive of several files, or one with a password.
  """
  head = file.read(contents.HEAD_BYTES)
  file.seek(0)
  if head.startswith(_ZIP):
    return Stream(_open_member(file, path))
  codec = next((codec for magic, codec in _ARROW.items() if head.startswith(magic)), None)
  if codec:
    # pyarrow's unpacking, because Python's `zstandard` ends a truncated file without a word.
    return Stream(pa.CompressedInputStream(pa.PythonFile(file, mode='r'), codec))
  kinds = (*_MEMBERS, _ZLIB) if with_zlib and _is_zlib(head) else _MEMBERS
  kind = next((kind for kind in kinds if head.startswith(kind.magic)), None)
  return Stream(_Members(file, kind) if kind else file)


def _is_zlib(head: bytes) -> bool:
  has_header = len(head) > 1 and int.from_bytes(head[:2], 'big') % 31 == 0 and not head[1] & _ZLIB_DICTIONARY
  return has_header and not contents.is_tfrecord(head)


class _Members:
  """The content of compressed members, one after the other; zeros after the last one are padding."""

  def __init__(self, file: BinaryIO, kind: _Kind):
    self._file = file
    self._kind = kind
    self._input = b''
    self._member: Any = kind.make()
    self._is_over = False

  def read(self, size: int) -> bytes:
    pieces: list[bytes] = []
    wanted = size
    while wanted and not self._is_over:
      piece = self._read_some(wanted)
      wanted -= len(piece)
      pieces.append(piece)
    return b''.join(pieces) if len(pieces) != 1 else pieces[0]

  def _read_some(self, size: int) -> bytes:
    if self._member.eof:
      self._begin_member()
      return b''
    if self._member.needs_input and not self._input:
      self._input = self._file.read(_INPUT_BYTES)
      if not self._input:
        raise EOFError('Truncated: its end is missing')
    content, self._input = self._input, b''
    return self._member.decompress(content, size)

  def _begin_member(self) -> None:
    rest = self._member.unused_data.lstrip(b'\0')
    while not rest and (more := self._file.read(_INPUT_BYTES)):
      rest = more.lstrip(b'\0')
    rest += self._file.read(len(self._kind.magic)) if rest else b''
    if rest and not rest.startswith(self._kind.magic):
      raise EOFError('something else after its end')
    self._is_over = not rest
    self._input, self._member = rest, self._kind.make()


class _Entry:
  """The content of an entry of a zip archive."""

  def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo):
    self._file = archive.open(entry)

  def read(self, size: int) -> bytes:
    with _damage_of_a_zip():
      return self._file.read(size)


@contextlib.contextmanager
def _damage_of_a_zip() -> Iterator[None]:
  """Turns what zipfile raises over damaged names, sizes and places into the error that it has for damage."""
  try:
    yield
  except base.DamagedFile:
    raise
  except (ValueError, LookupError, OverflowError, struct.error) as error:
    raise zipfile.BadZipFile(str(error) or type(error).__name__) from error


def _open_member(file: BinaryIO, path: str) -> Any:
  """Opens the one file in a zip archive."""
  try:
    with _damage_of_a_zip():
      archive = zipfile.ZipFile(file)
      members = [member for member in archive.infolist() if not _is_skipped(member.filename)]
      if len(members) == 1:
        return _Entry(archive, members[0])
  except (RuntimeError, NotImplementedError) as error:
    what = 'a method that is not known here' if isinstance(error, NotImplementedError) else 'a password'
    raise base.DamagedFile(f'Expected a zip archive that can be read, found {path} with {what}: unpack it.') from error
  names = ', '.join(member.filename for member in members[:_SHOWN_NAMES]) or 'none'
  more = ', …' if len(members) > _SHOWN_NAMES else ''
  raise base.DamagedFile(
    f'Expected one file in the zip archive {path}, found {len(members)} ({names}{more}): unpack it and name the '
    'files, or the folder that they are in.'
  )


def _is_skipped(name: str) -> bool:
  """Returns whether an entry of an archive is a folder or hidden; a damaged one has no name, where `is_dir` fails."""
  return name.endswith('/') or any(part.startswith(_HIDDEN) for part in name.split('/'))
