"""The variants by name. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Sequence
import re
from typing import Any

from common import loading
from export import parity
from export.variants import base
from export.variants import dynamic_range
from export.variants import float16
from export.variants import float32

_FLAG = '--variants'
# Its file shows whether the graph is right: the bounds of the others, which allow for rounding, may not show that.
REFERENCE = float32.Float32.name
VARIANTS: dict[str, base.Variant] = {
  variant.name: variant for variant in (float32.Float32(), float16.Float16(), dynamic_range.DynamicRange())
}
DEFAULT = ('float32', 'dynamic_range')

_NAME = re.compile('[a-z][a-z0-9_]*')


def find_all(names: Sequence[str]) -> dict[str, base.Variant]:
  """Returns the variants that a flag lists, under the names that it has for them.

  Args:
    names: Each a key of `VARIANTS`, or `package.module:attribute`.

  Raises:
    ValueError: If there is none of a name, one is listed twice, or none at all is.
  """
  if not names:
    raise ValueError(
      f'Expected at least one variant in {_FLAG}, found none: write {_FLAG}={",".join(DEFAULT)}, or choose among '
      f'{", ".join(VARIANTS)}.'
    )
  found: dict[str, base.Variant] = {}
  for name in names:
    variant = find(name)
    if variant.name in [other.name for other in found.values()]:
      raise ValueError(
        f'Expected each variant once in {_FLAG}, found {variant.name} twice: write it once, or give variants of your '
        'own different names.'
      )
    found[name] = variant
  return found


def find(name: str) -> base.Variant:
  """Returns the variant of that name; see `find_all`."""
  variant = loading.find(_FLAG, name, VARIANTS)
  if name not in VARIANTS:
    _check(name, variant)
  return variant


def _check(name: str, variant: Any) -> None:
  if isinstance(variant, type) and issubclass(variant, base.Variant):
    raise ValueError(f'Expected a variant, found the class {name!r}: add VARIANT = {variant.__name__}() and name that.')
  if not isinstance(variant, base.Variant):
    raise ValueError(
      f'Expected a variant, found {name!r} of type {type(variant).__name__}: derive a class from Variant '
      '(export/variants/base.py) and name an object of it.'
    )
  own = getattr(variant, 'name', None)
  if not isinstance(own, str) or not _NAME.fullmatch(own) or own in VARIANTS:
    raise ValueError(
      f'Expected {name} to have a name of its own of lower-case letters, digits and underscores, found {own!r}: its '
      f'file is called after it; give it one that is not among {", ".join(VARIANTS)}.'
    )
  if not isinstance(getattr(variant, 'summary', None), str):
    raise ValueError(f'Expected {name} to have a summary, found none: add summary = "what the file is for".')
  if not isinstance(getattr(variant, 'bounds', None), parity.Bounds):
    raise ValueError(
      f'Expected {name} to have bounds, found none: add bounds = parity.Bounds(min_agreement=0.98, '
      'max_relative_difference=None), or stricter ones.'
    )
  if variant.calibration != 'none':
    raise ValueError(
      f'Expected a variant that needs no calibration examples, found {name} with calibration = '
      f'{variant.calibration!r}: this program has none to give; make the examples in convert, as '
      'examples/extensions/integer_only.py does, and set calibration = "none".'
    )
