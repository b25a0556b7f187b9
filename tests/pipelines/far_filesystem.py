"""A filesystem that only Beam can reach: `far://` before the path of a local folder.

It is as strict as the strictest that Beam knows (HDFS): nothing is overwritten and a folder is made once. Code that
uses `open` or `os` on its paths finds nothing, or makes a folder called `far:` where the test runs.
"""

from collections.abc import Iterator, Sequence
import os
import shutil
from typing import Any, BinaryIO

from apache_beam.io import filesystem

_PREFIX = 'far://'
_PLAIN = filesystem.CompressionTypes.UNCOMPRESSED


def url(path: str) -> str:
  """Returns the name that the local path has on this filesystem."""
  return _PREFIX + path


class FarFileSystem(filesystem.FileSystem):
  """Importing this module is enough for Beam to find it."""

  @classmethod
  def scheme(cls) -> str:
    return _PREFIX.removesuffix('://')

  def join(self, basepath: str, *paths: str) -> str:
    return '/'.join([basepath.rstrip('/'), *paths])

  def split(self, path: str) -> tuple[str, str]:
    head, _, tail = path.rpartition('/')
    return head, tail

  def has_dirs(self) -> bool:
    return True

  def mkdirs(self, path: str) -> None:
    os.makedirs(_local(path))

  def exists(self, path: str) -> bool:
    return os.path.exists(_local(path))

  def create(self, path: str, mime_type: str = '', compression_type: str = _PLAIN) -> BinaryIO:
    return open(_local(path), 'xb')

  def open(self, path: str, mime_type: str = '', compression_type: str = _PLAIN) -> BinaryIO:
    compression_type = self._get_compression_type(path, compression_type)
    if compression_type == _PLAIN:
      return open(_local(path), 'rb')
    return filesystem.CompressedFile(self.open(path), compression_type)

  def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
    for source, destination in zip(source_file_names, destination_file_names, strict=True):
      shutil.copyfile(_local(source), _local(destination))

  def rename(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
    for source, destination in zip(source_file_names, destination_file_names, strict=True):
      if self.exists(destination):
        raise filesystem.BeamIOError(f'{destination} exists')
      os.rename(_local(source), _local(destination))

  def delete(self, paths: Sequence[str]) -> None:
    for path in paths:
      if not self.exists(path):
        raise filesystem.BeamIOError(f'{path} does not exist')
      shutil.rmtree(_local(path)) if os.path.isdir(_local(path)) else os.remove(_local(path))

  def size(self, path: str) -> int:
    return os.path.getsize(_local(path))

  def last_updated(self, path: str) -> float:
    return os.path.getmtime(_local(path))

  def metadata(self, path: str) -> Any:
    return filesystem.FileMetadata(path, self.size(path), self.last_updated(path))

  def _list(self, dir_or_prefix: str) -> Iterator[Any]:
    if not self.exists(dir_or_prefix):
      raise filesystem.BeamIOError(f'{dir_or_prefix} does not exist')
    for name in os.listdir(_local(dir_or_prefix)):
      yield self.metadata(self.join(dir_or_prefix, name))


def _local(path: str) -> str:
  return path.removeprefix(_PREFIX)
