"""Finds a part by a built-in name, or one of the user's own as `package.module:attribute`. A leaf."""

from collections.abc import Mapping
import difflib
import importlib
import importlib.util
import re
import sys
from typing import Any

from common import suggestions

FORM = 'package.module:attribute'

_OWN = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*')


def find(what: str, name: str, built_in: Mapping[str, Any]) -> Any:
  """Returns the part of that name, importing it if it is the user's own.

  Args:
    what: What is looked for, for messages.
    name: A key of `built_in`, or `package.module:attribute`.
    built_in: The parts that have a name.

  Raises:
    ValueError: If there is none.
  """
  if name in built_in:
    return built_in[name]
  if not _OWN.fullmatch(name):
    raise ValueError(f'Expected {what} to be one of {", ".join(built_in)}, found {name!r}: {_remedy(name, built_in)}')
  module_name, _, attribute = name.partition(':')
  try:
    module = importlib.import_module(module_name)
  except (ImportError, SyntaxError) as error:
    raise ValueError(
      f'Expected {what} that can be imported, found {name!r} ({error}): write "{FORM}", and start from the folder '
      f'that holds the package; built in are {", ".join(built_in)}.'
    ) from error
  if not hasattr(module, attribute):
    near = difflib.get_close_matches(attribute, vars(module), n=1)
    remedy = f'did you mean {module_name}:{near[0]}?' if near else f'define {attribute} there.'
    raise ValueError(f'Expected {what} in {module_name}, found no attribute {attribute!r} there: {remedy}')
  return getattr(module, attribute)


def find_file(name: str) -> str | None:
  """Returns the file with the code of a part, which is not run; None for a built-in part or one that is not found."""
  module, is_own, _ = name.partition(':')
  if not is_own:
    return None
  if module in sys.modules:
    return getattr(sys.modules[module], '__file__', None)
  try:
    spec = importlib.util.find_spec(module)
  except (ImportError, ValueError):
    return None
  return spec.origin if spec else None


def check_dataclass(name: str, found: Any) -> None:
  """Checks that a part is a frozen dataclass, so that its options are known and stay as they are.

  Raises:
    ValueError: If it is not.
  """
  parameters = getattr(found, '__dataclass_params__', None)
  if not isinstance(found, type) or not parameters or not parameters.frozen:
    raise ValueError(f'Expected a frozen dataclass, found {name!r}: add @dataclasses.dataclass(frozen=True) to it.')


def _remedy(name: str, built_in: Mapping[str, Any]) -> str:
  package, _, attribute = name.rpartition('.')
  own = f'{package}:{attribute}' if _OWN.fullmatch(f'{package}:{attribute}') else FORM
  return suggestions.suggest(name, built_in, f'write "{own}" for one of your own.')
