"""Filesystems that only Beam can reach: `far://` or `flat://` before the path of a local folder.

The first is as strict as the strictest that Beam knows (HDFS): nothing is overwritten and a folder is made once. The
second is an object store: it has no folders, renames over what is there, and removes without an error what is not.
Code that uses `open` or `os` on their paths finds nothing, or makes a folder called `far:` where the test runs.
"""

from collections.abc import Iterator, Sequence
import contextlib
import os
import shutil
from typing import Any, BinaryIO
from unittest import mock

from apache_beam.io import filesystem

_PLAIN = filesystem.CompressionTypes.UNCOMPRESSED


def url(path: str) -> str:
  """Returns the name that the local path has on the filesystem with folders."""
  return f'far://{path}'


class FarFileSystem(filesystem.FileSystem):
  """Importing this module is enough for Beam to find it."""

  @classmethod
  def scheme(cls) -> str:
    return 'far'

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
    if not self.exists(path):
      raise filesystem.BeamIOError(f'{path} does not exist')
    return filesystem.FileMetadata(path, self.size(path), self.last_updated(path))

  def _list(self, dir_or_prefix: str) -> Iterator[Any]:
    if not self.exists(dir_or_prefix):
      raise filesystem.BeamIOError(f'{dir_or_prefix} does not exist')
    for name in os.listdir(_local(dir_or_prefix)):
      yield self.metadata(self.join(dir_or_prefix, name))


class FlatFileSystem(FarFileSystem):
  """Keeps its files in local folders, but says nothing of these."""

  @classmethod
  def scheme(cls) -> str:
    return 'flat'

  def has_dirs(self) -> bool:
    return False

  def mkdirs(self, path: str) -> None:
    pass

  def exists(self, path: str) -> bool:
    return os.path.isfile(_local(path))

  def create(self, path: str, mime_type: str = '', compression_type: str = _PLAIN) -> BinaryIO:
    os.makedirs(os.path.dirname(_local(path)), exist_ok=True)
    return open(_local(path), 'wb')

  def rename(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
    for source, destination in zip(source_file_names, destination_file_names, strict=True):
      os.replace(_local(source), _local(destination))

  def delete(self, paths: Sequence[str]) -> None:
    for path in paths:
      if path.endswith('/'):
        shutil.rmtree(_local(path), ignore_errors=True)
      elif self.exists(path):
        os.remove(_local(path))

  def _list(self, dir_or_prefix: str) -> Iterator[Any]:
    for folder, _, names in os.walk(os.path.dirname(_local(dir_or_prefix))):
      for name in names:
        path = f'flat://{os.path.join(folder, name)}'
        if path.startswith(dir_or_prefix):
          yield self.metadata(path)


@contextlib.contextmanager
def failing_lists() -> Iterator[None]:
  """Within it neither filesystem tells what it holds, though all else works."""
  failure = filesystem.BeamIOError('503 Service Unavailable')
  with (
    mock.patch.object(FarFileSystem, '_list', side_effect=failure),
    mock.patch.object(FlatFileSystem, '_list', side_effect=failure),
  ):
    yield


def _local(path: str) -> str:
  return path.partition('://')[2]
