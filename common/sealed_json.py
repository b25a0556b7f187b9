"""JSON files that carry a checksum of their own content, and whose reader says what is missing or of a wrong type.

A leaf. A file is exactly what `dumps` makes of its content, so that no changed byte is taken for another content.
"""

from collections.abc import Mapping
import hashlib
import json
from typing import Any

CHECKSUM = 'checksum'
# How a form marks a key that may be missing.
OPTIONAL = '?'
# Deeper than anything of ours, and far from where Python's own parser gives up.
_MOST_DEPTH = 50

# A type, several types, one form for all values of an object (`{str: form}`), a form for each key, or one for all items
# of a list (`[form]`).
Form = Any


def dumps(content: Mapping[str, Any]) -> str:
  """Returns the text of a file that holds `content` and its checksum; an old checksum in it is replaced."""
  content = {key: value for key, value in content.items() if key != CHECKSUM}
  plain = json.dumps(content, indent=1, allow_nan=False)
  sealed = {**content, CHECKSUM: hashlib.sha256(plain.encode()).hexdigest()}
  return json.dumps(sealed, indent=1, allow_nan=False) + '\n'


def loads(text: bytes, form: Form) -> dict[str, Any]:
  """Returns the content of a file that `dumps` made.

  Args:
    text: What is in the file.
    form: What the content has to be like.

  Raises:
    ValueError: With what was found instead.
  """
  content = loads_unchecked(text)
  if CHECKSUM not in content:
    raise ValueError('no checksum')
  try:
    is_same = dumps(content).encode() == text
  except (TypeError, ValueError, RecursionError):  # As of a number that is none.
    is_same = False
  if not is_same:
    raise ValueError('another content than its checksum says')
  check(content, form)
  return content


def loads_unchecked(text: bytes) -> dict[str, Any]:
  """Returns the object in a file, whoever wrote it.

  Raises:
    ValueError: With what was found instead.
  """
  try:
    content = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise ValueError('no valid JSON') from error
  if not isinstance(content, dict):
    raise ValueError(f'a {type(content).__name__} instead of an object')
  return content


def check(value: Any, form: Form, path: str = 'it', depth: int = 0) -> None:
  """Checks that a value is of a form.

  Raises:
    ValueError: With the place of the first that is not.
  """
  if depth > _MOST_DEPTH:
    raise ValueError(f'{path} nested too deeply')
  if isinstance(form, dict):
    _check_object(value, form, path, depth)
  elif isinstance(form, list):
    if not isinstance(value, list):
      raise ValueError(f'{path} to be {_describe(value)} instead of a list')
    for place, item in enumerate(value):
      check(item, form[0], f'{path}[{place}]', depth + 1)
  else:
    kinds = form if isinstance(form, tuple) else (form,)
    # No `isinstance`: True is no number here.
    if type(value) not in kinds or (isinstance(value, int) and value.bit_length() > 63):
      raise ValueError(f'{path} to be {_describe(value)} instead of {" or ".join(kind.__name__ for kind in kinds)}')


def _check_object(value: Any, form: Mapping[Any, Form], path: str, depth: int) -> None:
  if not isinstance(value, dict):
    raise ValueError(f'{path} to be {_describe(value)} instead of an object')
  if str in form:
    for key, item in value.items():
      check(item, form[str], _join(path, key), depth + 1)
    return
  for key, below in form.items():
    name = key.removesuffix(OPTIONAL)
    if name in value:
      check(value[name], below, _join(path, name), depth + 1)
    elif name == key:
      raise ValueError(f'no {_join(path, name)}')


def _join(path: str, key: str) -> str:
  return key[:40] if path == 'it' else f'{path}.{key[:40]}'


def _describe(value: Any) -> str:
  return 'null' if value is None else f'a {type(value).__name__}'
