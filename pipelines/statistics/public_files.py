"""Public files that a declaration takes figures or words from: read once, recognized by their hash."""

import hashlib
import os


def read(folder: str, name: str, sha256: str) -> tuple[bytes, str]:
  """Returns the content of a file and its SHA-256.

  Args:
    folder: The declaration's, to which the name is relative.
    name: The file.
    sha256: What the declaration says of it; empty if nothing.

  Raises:
    ValueError: If it is another file than the declared one.
    OSError: If it cannot be read.
  """
  with open(os.path.join(folder, name), 'rb') as file:
    content = file.read()
  found = hashlib.sha256(content).hexdigest()
  if sha256 not in ('', found):
    raise ValueError(f'Expected a file with the declared sha256, found another {name}: correct one of them.')
  return content, found
