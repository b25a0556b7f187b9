"""The featurizers by the kind that a declaration names; one of one's own by the name of its class."""

import difflib
import importlib
import inspect
import re

from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import image
from pipelines.featurizers import items
from pipelines.featurizers import table
from pipelines.featurizers import windows
from pipelines.featurizers import words

KINDS: dict[str, type[base.Featurizer]] = {
    'characters': characters.Characters,
    'words': words.Words,
    'items': items.Items,
    'table': table.Table,
    'image': image.Image,
    'windows': windows.Windows,
}

_CLASS = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)+')


def find(kind: str) -> type[base.Featurizer]:
  """Returns the featurizer that a declaration names, importing it.

  Raises:
    ValueError: If there is none, or it is not a featurizer.
  """
  if kind not in KINDS and not _CLASS.fullmatch(kind):
    meant = difflib.get_close_matches(kind, KINDS, n=1)
    remedy = f'did you mean {meant[0]}?' if meant else 'write "package.module.Class" for one of your own.'
    raise ValueError(f'Expected kind to be one of {", ".join(KINDS)}, found {kind!r}: {remedy}')
  return KINDS[kind] if kind in KINDS else _check(kind, _import(kind))


def _import(path: str) -> object:
  module_name, _, class_name = path.rpartition('.')
  try:
    return getattr(importlib.import_module(module_name), class_name)
  except (ImportError, AttributeError, SyntaxError) as error:
    raise ValueError(
        f'Expected a featurizer that can be imported, found {path!r} ({error}): write "package.module.Class", and '
        'start from the folder that holds the package.'
    ) from error


def name(kind: type[base.Featurizer]) -> str:
  """Returns what a declaration calls a featurizer."""
  own = f'{kind.__module__}.{kind.__qualname__}'
  return next((name for name, known in KINDS.items() if known is kind), own)


def _check(path: str, found: object) -> type[base.Featurizer]:
  if not inspect.isclass(found) or not issubclass(found, base.Featurizer):
    raise ValueError(f'Expected a featurizer, found {path!r}: derive it from pipelines.featurizers.base.Featurizer.')
  missing = sorted(found.__abstractmethods__)
  if missing:
    raise ValueError(f'Expected a whole featurizer, found {path!r} without {", ".join(missing)}: add these to it.')
  parameters = getattr(found, '__dataclass_params__', None)
  if not parameters or not parameters.frozen:
    raise ValueError(f'Expected a frozen dataclass, found {path!r}: add @dataclasses.dataclass(frozen=True) to it.')
  return found
