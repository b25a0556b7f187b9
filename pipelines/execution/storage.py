"""The files of an output folder, on any filesystem that Beam knows.

What has no scheme (`gs://`, `hdfs://`, ...) is a local or mounted disk, where a file also survives a crash of the
machine. An object store (`gs://`, `s3://`) has no folders: one is there as long as a file's name begins with it. Errors
are those of the filesystem: an `OSError`, which `explain` puts into words.
"""

from collections.abc import Callable, Iterator
import contextlib
import json
import os
import shutil
from typing import Any, BinaryIO
import uuid

from apache_beam.io import filesystem
from apache_beam.io import filesystems
import pyarrow as pa

from common import files

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

  On a local or mounted disk nobody else may look into it: what it is for are the data of users.

  Raises:
    ValueError: If Beam knows no such filesystem, or would take the folder for a pattern.
  """
  if is_local(folder):
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return
  if _WILDCARDS.intersection(folder):
    raise ValueError(f'Expected a folder without *, ? and [ in its name, found {folder}: choose another one.')
  with _suppress_unless(lambda: not filesystems.FileSystems.exists(folder)):
    filesystems.FileSystems.mkdirs(folder)


def list_names(folder: str) -> list[str]:
  """Returns the names of the files and folders in the folder, sorted; none if there is no such folder.

  Raises:
    OSError: If the names cannot be known, which is not the same as none.
  """
  if is_local(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
  if _has_folders(folder):
    with _suppress_unless(lambda: filesystems.FileSystems.exists(folder)):
      return sorted(filesystems.FileSystems.split(path)[1] for path in _match(join(folder, '*')))
    return []
  # Nothing is suppressed: a missing folder is no error here. Two stars, because one finds no folders.
  start = folder.rstrip('/') + '/'
  return sorted({path.removeprefix(start).partition('/')[0] for path in _match(f'{start}**')} - {''})


def walk(folder: str) -> Iterator[str]:
  """Yields the path of each file in the folder and in those below it; nothing if it is none."""
  if is_local(folder):
    yield from _walk_local(folder)
  elif _has_folders(folder):
    for path in _list_folder(folder):
      below = list(walk(path))
      yield from below or [path]
  else:
    yield from _match(f'{folder.rstrip("/")}/**')


def _walk_local(folder: str) -> Iterator[str]:
  seen: set[str] = set()
  for where, folders, names in os.walk(folder, followlinks=True):
    # A link may lead back to a folder above it.
    real = os.path.realpath(where)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    yield from (os.path.join(where, name) for name in names)


def _list_folder(path: str) -> list[str]:
  # A file is an error here, of no kind of its own.
  with contextlib.suppress(OSError):
    return _match(join(path, '*'))
  return []


def _has_folders(path: str) -> bool:
  return filesystems.FileSystems.get_filesystem(path).has_dirs()


def _match(pattern: str) -> list[str]:
  return [entry.path for entry in filesystems.FileSystems.match([pattern])[0].metadata_list]


def remove(path: str) -> None:
  """Removes the file if it is there."""
  if is_local(path):
    with contextlib.suppress(FileNotFoundError):
      os.remove(path)
    return
  # Looked for as a pattern is: `exists` raises the errors of the store's own library, which are no OSError.
  with _suppress_unless(lambda: bool(_match(path))):
    filesystems.FileSystems.delete([path])


def remove_folder(folder: str) -> None:
  """Removes the folder with all that is in it, if it is there.

  Raises:
    OSError: If any of it may be left: some filesystems only log what they could not remove.
  """
  if is_local(folder):
    with contextlib.suppress(FileNotFoundError):
      shutil.rmtree(folder)
    return
  folder = folder.rstrip('/')
  failure = None
  try:
    # The slash tells filesystems without folders that all that begins so is meant.
    filesystems.FileSystems.delete([f'{folder}/'])
  except OSError as error:
    failure = error
  if _match(folder) if _has_folders(folder) else list_names(folder):
    raise OSError(f'{folder} could not be removed with all that is in it') from failure


def open_atomically(path: str, is_durable: bool = True) -> contextlib.AbstractContextManager[BinaryIO]:
  """Opens a new file beside `path` that takes its place when the block ends well, and goes when it does not.

  Where no file can be renamed over another, one of the same size is taken for an earlier attempt at the same content.

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
  """Renames; HDFS, unlike others, does not rename over a file, such as another attempt of this worker left."""
  try:
    filesystems.FileSystems.rename([source], [path])
  except filesystem.BeamIOError:
    if not (_match(source) and _match(path)):
      raise
    if size(source) != size(path):
      remove(path)
      filesystems.FileSystems.rename([source], [path])
      return
    # Others may be reading that file: not even for a moment may it be gone.
    remove(source)


def write_json(value: Any, path: str) -> None:
  """Writes a value for the program that started the job, which reads it soon: it need not outlive a power cut."""
  with open_atomically(path, is_durable=False) as file:
    file.write(json.dumps(value).encode())


def write_new(path: str, content: bytes) -> None:
  """Writes a file that is not there yet and that nobody reads: it is not whole when its name appears."""
  with filesystems.FileSystems.create(path, compression_type=_PLAIN) as file:
    file.write(content)


def open_stream(path: str) -> BinaryIO:
  """Opens a file as it lies on the disk: Beam's own unpacking ends a truncated gzip file without a word."""
  return filesystems.FileSystems.open(path, compression_type=_PLAIN)


def open_random(path: str) -> pa.NativeFile:
  """Opens a file for Arrow's readers, which jump about in it."""
  return pa.OSFile(path) if is_local(path) else pa.PythonFile(open_stream(path), mode='r')


def size(path: str) -> int:
  """Returns the size of the file in bytes; its name may hold what is a wildcard in a pattern."""
  if is_local(path):
    return os.path.getsize(path)
  return filesystems.FileSystems.get_filesystem(path).metadata(path).size_in_bytes


def read(path: str) -> bytes:
  """Returns what is in the file."""
  with open_stream(path) as file:
    return file.read()


def describe(path: str, is_cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
  """Returns what `files.describe` does, the size in `bytes` and the `sha256`, of a file of any size anywhere.

  Args:
    path: The file.
    is_cancelled: As in `files.describe_stream`.
  """
  with open_stream(path) as file:
    return files.describe_stream(file, is_cancelled)


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
