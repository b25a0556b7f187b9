"""Operations that only TensorFlow's own kernels compute (Flex): whether files may have some, and which they have.

A device's runtime does not have these kernels, unless an app adds them, which takes many megabytes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import contextvars
import re
from typing import Any

from export import operations

_IS_ALLOWED = contextvars.ContextVar('flex_is_allowed', default=False)
# What the converter writes into its message, and what the name of an operation begins with in a file.
_MISSING = re.compile('^(TF Select|Custom) ops: (.+)$', re.MULTILINE)
_PREFIX = 'Flex'


@contextlib.contextmanager
def allowing(is_allowed: bool) -> Iterator[None]:
  """Decides whether files that are converted meanwhile may have such operations."""
  token = _IS_ALLOWED.set(is_allowed)
  try:
    yield
  finally:
    _IS_ALLOWED.reset(token)


def is_allowed() -> bool:
  """Returns what `allowing` decided; by default, files may have none."""
  return _IS_ALLOWED.get()


def find_missing(message: str) -> list[str]:
  """Returns the operations that a file would need; none if that is not why a conversion failed.

  Args:
    message: Of the converter.
  """
  return [name for _, names in _MISSING.findall(message) for name in names.split(', ')]


def describe_missing(message: str, find_uses: Callable[[], Mapping[str, Sequence[str]]] = dict) -> str:
  """Returns which operations a file would need, and what to do; empty if that is not why a conversion failed.

  Args:
    message: Of the converter.
    find_uses: Returns the layers that have operations of each kind.
  """
  found = dict(_MISSING.findall(message))
  if not found:
    return ''
  uses = find_uses()
  return _describe_missing(*(operations.describe_all(found.get(kind, ''), uses) for kind in ('TF Select', 'Custom')))


def _describe_missing(selected: str, custom: str = '') -> str:
  parts = [
    f'{selected}, which only the kernels of TensorFlow (Flex) compute' if selected else '',
    f'{custom}, which LiteRT and TensorFlow have no kernels for' if custom else '',
  ]
  # The flag brings no kernel for a custom operation.
  remedy = '' if custom or is_allowed() else ', or add --allow_flex if your app has these kernels'
  return (
    f'Expected operations that every device runtime has, found {" and ".join(filter(None, parts))}: replace the layers '
    f'that use them{remedy}.'
  )


def refuse(path: str) -> None:
  """Refuses a file with such operations, whichever way it was converted.

  Raises:
    ValueError: If it has some.
  """
  names = find(path)
  if names:
    raise ValueError(_describe_missing(', '.join(names)))


def find(path: str) -> list[str]:
  """Returns the names of such operations in a file."""
  with open(path, 'rb') as file:
    return find_in(file.read())


def find_in(content: bytes) -> list[str]:
  """Returns the names of such operations in the content of a file."""
  from ai_edge_litert import schema_py_generated as flatbuffer

  model = flatbuffer.Model.GetRootAs(content)
  names = [(model.OperatorCodes(index).CustomCode() or b'').decode() for index in range(model.OperatorCodesLength())]
  return sorted({name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)})


def open_interpreter(path: str) -> Any:
  """Returns an interpreter of a file with one thread: that of the device's runtime, if it can run the file.

  Otherwise it is that of TensorFlow, which is loaded for it.
  """
  if find(path):
    import tensorflow as tf

    return tf.lite.Interpreter(model_path=path, num_threads=1)
  from ai_edge_litert import interpreter as litert  # Here, so that only the checking process loads the runtime.

  return litert.Interpreter(model_path=path, num_threads=1)


def is_needed(summary: str) -> bool:
  """Returns whether a file has such operations, by its summary in parity.json, which ends with `describe`."""
  return '(Flex)' in summary


def describe(path: str) -> str:
  """Returns what an app needs for a file and how the file was checked; empty if it has no such operations."""
  names = find(path)
  if not names:
    return ''
  return (
    f'; LiteRT alone cannot run it: it needs the kernels of TensorFlow (Flex) for {", ".join(names)}, and was checked '
    'with TensorFlow'
  )
