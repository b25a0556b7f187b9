"""Writing files so that a killed process leaves the old one or the new one, never half of one. A leaf."""

import contextlib
import os


def write_atomically(path: str, content: bytes | str) -> None:
  """Writes `content` beside `path`, flushes it to the disk, and renames it into place.

  Raises:
    OSError: If the folder cannot be written or the disk is full; what stood at `path` is untouched.
  """
  data = content.encode() if isinstance(content, str) else content
  aside = f'{path}.{os.getpid()}.part'
  try:
    with open(aside, 'wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(aside, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(aside)
    raise
