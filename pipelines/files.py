"""Writing files so that a killed process leaves the old one or the new one, never half of one. A leaf."""

from collections.abc import Iterator
import contextlib
import hashlib
import os
from typing import Any, BinaryIO
import uuid


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
      yield file
      file.flush()
      if is_durable:
        os.fsync(file.fileno())
    os.replace(aside, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(aside)
    raise


def write_atomically(path: str, content: bytes | str) -> None:
  """Writes `content` to `path` as `open_atomically` does."""
  with open_atomically(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


def describe(path: str) -> dict[str, Any]:
  """Returns the size in `bytes` and the `sha256` of a file, which a manifest lists to recognize it."""
  with open(path, 'rb') as file:
    return {'bytes': os.fstat(file.fileno()).st_size, 'sha256': hashlib.file_digest(file, 'sha256').hexdigest()}
