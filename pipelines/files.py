"""Writing files so that a killed process leaves the old one or the new one, never half of one. A leaf."""

from collections.abc import Iterator
import contextlib
import hashlib
import os
from typing import Any, BinaryIO


@contextlib.contextmanager
def open_atomically(path: str) -> Iterator[BinaryIO]:
  """Opens a new file beside `path`; when the block ends well it is flushed to the disk and renamed into place.

  Raises:
    OSError: If the folder cannot be written or the disk is full; what stood at `path` is untouched.
  """
  aside = f'{path}.{os.getpid()}.part'
  try:
    with open(aside, 'wb') as file:
      yield file
      file.flush()
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
