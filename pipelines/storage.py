"""The files of an output folder, on any filesystem that Beam knows.

What has no scheme (`gs://`, `hdfs://`, ...) is a local or mounted disk, where a file also survives a crash of the
machine. Errors are those of the filesystem: an `OSError`, which `explain` puts into words.
"""

from collections.abc import Callable, Iterator
import contextlib
import hashlib
import os
import shutil
from typing import Any, BinaryIO
import uuid

from apache_beam.io import filesystem
from apache_beam.io import filesystems
import pyarrow as pa

from pipelines import files

# By default Beam compresses what is called `.gz`; the names and bytes here are ours.
_PLAIN = filesystem.CompressionTypes.UNCOMPRESSED
_WILDCARDS = frozenset('*?[')


def is_local(path: str) -> bool:
  """Tells whether the path is on a local or mounted disk, which `open` and `os` can reach."""
  return filesystems.FileSystems.get_scheme(path) is None


def absolute(path: str) -> str:
  """Returns the path for workers, which may have another working directory."""
  return os.path.abspath(path) if is_local(path) else path


def join(folder: str, *names: str) -> str:
  """Returns the path of a file in the folder."""
  return filesystems.FileSystems.join(folder, *names)


def make_folder(folder: str) -> None:
  """Makes the folder and those above it, unless it is there or its filesystem has no folders.

  Raises:
    ValueError: If Beam knows no such filesystem, or would take the folder for a pattern.
  """
  if is_local(folder):
    os.makedirs(folder, exist_ok=True)
    return
  if _WILDCARDS.intersection(folder):
    raise ValueError(f'Expected a folder without *, ? and [ in its name, found {folder}: choose another one.')
  with _suppress_unless(lambda: not filesystems.FileSystems.exists(folder)):
    filesystems.FileSystems.mkdirs(folder)


def list_names(folder: str) -> list[str]:
  """Returns the names in the folder, sorted; none if there is no such folder."""
  if is_local(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
  with _suppress_unless(lambda: filesystems.FileSystems.exists(folder)):
    found = filesystems.FileSystems.match([join(folder, '*')])[0].metadata_list
    return sorted(filesystems.FileSystems.split(entry.path)[1] for entry in found)
  return []


def remove(path: str) -> None:
  """Removes the file if it is there."""
  if is_local(path):
    with contextlib.suppress(FileNotFoundError):
      os.remove(path)
    return
  with _suppress_unless(lambda: filesystems.FileSystems.exists(path)):
    filesystems.FileSystems.delete([path])


def remove_folder(folder: str) -> None:
  """Removes the folder with all that is in it, if it is there."""
  if is_local(folder):
    with contextlib.suppress(FileNotFoundError):
      shutil.rmtree(folder)
    return
  # The slash tells filesystems without folders that all that begins so is meant.
  remove(folder.rstrip('/') + '/')


def open_atomically(path: str, is_durable: bool = True) -> contextlib.AbstractContextManager[BinaryIO]:
  """Opens a new file beside `path` that takes its place when the block ends well, and goes when it does not.

  Args:
    path: The file.
    is_durable: As in `files.open_atomically`.
  """
  return files.open_atomically(path, is_durable) if is_local(path) else _open_aside(path)


@contextlib.contextmanager
def _open_aside(path: str) -> Iterator[BinaryIO]:
  # Workers on two machines may have the same process id and the same file to write, one of them in vain.
  aside = f'{path}.{uuid.uuid4().int}.part'
  try:
    with filesystems.FileSystems.create(aside, compression_type=_PLAIN) as file:
      yield file
    _replace(aside, path)
  except BaseException:
    with contextlib.suppress(OSError):
      remove(aside)
    raise


def _replace(source: str, path: str) -> None:
  """Renames; HDFS, unlike others, does not rename over a file, such as an earlier attempt of this worker left."""
  try:
    filesystems.FileSystems.rename([source], [path])
  except filesystem.BeamIOError:
    if not (filesystems.FileSystems.exists(source) and filesystems.FileSystems.exists(path)):
      raise
    remove(path)
    filesystems.FileSystems.rename([source], [path])


def open_stream(path: str) -> BinaryIO:
  """Opens a file to be read from its start."""
  return filesystems.FileSystems.open(path, compression_type=_PLAIN)


def open_random(path: str) -> pa.NativeFile:
  """Opens a file for Arrow's readers, which jump about in it."""
  return pa.OSFile(path) if is_local(path) else pa.PythonFile(open_stream(path), mode='r')


def size(path: str) -> int:
  """Returns the size of the file in bytes."""
  return filesystems.FileSystems.match([path])[0].metadata_list[0].size_in_bytes


def read(path: str) -> bytes:
  """Returns what is in the file."""
  with open_stream(path) as file:
    return file.read()


def describe(path: str) -> dict[str, Any]:
  """Returns what `files.describe` does: the size in `bytes` and the `sha256`."""
  with open_stream(path) as file:
    digest = hashlib.file_digest(file, 'sha256')  # type: ignore[arg-type]
    return {'bytes': file.tell(), 'sha256': digest.hexdigest()}


def explain(error: OSError) -> str:
  """Returns what went wrong, in the words of the system or of Beam."""
  return error.strerror or str(error)


@contextlib.contextmanager
def _suppress_unless(is_wrong: Callable[[], bool]) -> Iterator[None]:
  """Suppresses errors of Beam's filesystems, which do not say what kind they are, unless the outcome is wrong."""
  try:
    yield
  except OSError:
    if is_wrong():
      raise
