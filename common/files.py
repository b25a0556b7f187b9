"""Files that a killed process leaves old or new, never half; what tells them apart; folders of one's own. A leaf."""

from collections.abc import Callable, Iterator
from concurrent import futures
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import time
from typing import Any, BinaryIO
import uuid

_HASH_BLOCK_BYTES = 1 << 17
_SECONDS_TO_LOCK = 60


@contextlib.contextmanager
def open_atomically(path: str, is_durable: bool = True) -> Iterator[BinaryIO]:
  """Opens a new file beside `path`; when the block ends well it is flushed to the disk and renamed into place.

  Args:
    path: The file.
    is_durable: Whether it has to be there after a crash of the machine; what a job needs for itself has not.

  Raises:
    OSError: If the folder cannot be written or the disk is full; what stood at `path` is untouched.
  """
  # Processes on two machines that share the disk may have the same id.
  aside = f'{path}.{uuid.uuid4().int}.part'
  try:
    with open(aside, 'wb') as file:
      if is_durable:
        with contextlib.suppress(OSError):  # Not every filesystem has locks.
          fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      yield file
      file.flush()
      if is_durable:
        os.fsync(file.fileno())
    os.replace(aside, path)
    if is_durable:
      _flush_folder(os.path.dirname(path) or '.')
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(aside)
    raise


def write_atomically(path: str, content: bytes | str) -> None:
  """Writes `content` to `path` as `open_atomically` does; what killed programs left when they did so is removed."""
  folder, name = os.path.split(path)
  with contextlib.suppress(FileNotFoundError):
    for part in filter(re.compile(rf'{re.escape(name)}\.\d+\.part').fullmatch, os.listdir(folder or '.')):
      _remove_if_abandoned(os.path.join(folder, part))
  with open_atomically(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


def _remove_if_abandoned(part: str) -> None:
  with contextlib.suppress(OSError):  # Its writer is at work, or it is gone.
    lock = lock_folder(part)
    try:
      # Between opening a file and locking it, its writer has not written anything.
      if os.path.getsize(part) or time.time() - os.path.getmtime(part) > _SECONDS_TO_LOCK:
        os.remove(part)
    finally:
      os.close(lock)


def short_name(path: str) -> str:
  """Returns the last two folders of a path: many runs are called `run`, and many data sets `shards`."""
  parent, name = os.path.split(os.path.abspath(path))
  return os.path.join(os.path.basename(parent), name)


def _flush_folder(path: str) -> None:
  """Makes the names in a folder survive a crash of the machine: a file's own flush says nothing of its name."""
  folder = os.open(path, os.O_RDONLY)
  try:
    os.fsync(folder)
  except OSError as error:
    if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # A filesystem that does not do this for folders.
      raise
  finally:
    os.close(folder)


def describe(path: str) -> dict[str, Any]:
  """Returns the size in `bytes` and the `sha256` of a file, which a manifest lists to recognize it."""
  with open(path, 'rb') as file:
    return describe_stream(file)


def describe_stream(file: BinaryIO, is_cancelled: Callable[[], bool] = lambda: False) -> dict[str, Any]:
  """Does what `describe` does for an open file.

  Args:
    file: At its start.
    is_cancelled: Asked again and again while it is read.

  Raises:
    futures.CancelledError: If `is_cancelled` says so.
  """
  digest, length = hashlib.sha256(), 0
  while block := file.read(_HASH_BLOCK_BYTES):
    if is_cancelled():
      raise futures.CancelledError
    digest.update(block)
    length += len(block)
  return {'bytes': length, 'sha256': digest.hexdigest()}


class DescribedWriter:
  """Writes to a file from its start to its end, and describes it as `describe` does without reading it again.

  Args:
    file: An empty file.
  """

  closed = False  # Arrow asks.

  def __init__(self, file: BinaryIO) -> None:
    self._file, self._digest, self._length = file, hashlib.sha256(), 0

  def write(self, content: Any) -> int:
    """Appends some bytes."""
    self._digest.update(content)
    self._length += len(memoryview(content).cast('B'))
    return self._file.write(content)

  def flush(self) -> None:
    self._file.flush()

  def describe(self) -> dict[str, Any]:
    """Returns the size in `bytes` and the `sha256` of what was written."""
    return {'bytes': self._length, 'sha256': self._digest.hexdigest()}


def lock_folder(path: str) -> int:
  """Keeps others who ask the same out of a folder or a file, until the descriptor that is returned is closed.

  Raises:
    BlockingIOError: If somebody else has the folder.
  """
  folder = os.open(path, os.O_RDONLY)
  try:
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BaseException:
    os.close(folder)
    raise
  return folder
