"""The format numbers of all files that one program writes and another, or a later version, reads. A leaf.

A number grows when a reader of the older form would misread the new one. Each reader reads the forms that are listed
for it, and refuses others by their number.
"""

from collections.abc import Mapping
from typing import Any

# How a file names its format.
KEY = 'format'

MANIFEST = 3
MODEL = 3
# In it no model names a task; it is read as well.
MODEL_WITHOUT_TASK = 2
LEDGER = 1
FIGURES = 1
# The first had no number.
CHECKPOINT = 5
# Had the choice of the local runtime in a place of its own; it is read as well.
CHECKPOINT_WITH_XLA = 4
CLIENT_STATE = 2
PARITY = 1
# The JSON entry in the metadata of a TFLite file.
METADATA = 1
HELD_OUT = 1
PREPROCESSING = 1


def check(content: Mapping[str, Any], number: int) -> None:
  """Checks the format of a JSON file whose first version did not name it.

  Args:
    content: What is in the file.
    number: The format that is read.

  Raises:
    ValueError: With what was found instead.
  """
  found = content.get(KEY, 1)
  if type(found) is not int or found != number:
    raise ValueError(f'format {found!r} of another version (this one reads format {number})')
