"""The featurizers by the kind that a declaration names; one of one's own as `package.module:Class`."""

import inspect

from common import loading
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


def find(kind: str) -> type[base.Featurizer]:
  """Returns the featurizer that a declaration names, importing it.

  Raises:
    ValueError: If there is none, or it is not a featurizer.
  """
  return KINDS[kind] if kind in KINDS else _check(kind, loading.find('kind', kind, KINDS))


def name(kind: type[base.Featurizer]) -> str:
  """Returns what a declaration calls a featurizer."""
  own = f'{kind.__module__}:{kind.__qualname__}'
  return next((name for name, known in KINDS.items() if known is kind), own)


def _check(path: str, found: object) -> type[base.Featurizer]:
  if not inspect.isclass(found) or not issubclass(found, base.Featurizer):
    raise ValueError(f'Expected a featurizer, found {path!r}: derive it from pipelines.featurizers.base.Featurizer.')
  missing = sorted(found.__abstractmethods__)
  if missing:
    raise ValueError(f'Expected a whole featurizer, found {path!r} without {", ".join(missing)}: add these to it.')
  loading.check_dataclass(path, found)
  return found
