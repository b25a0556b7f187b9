"""The variants by name. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Sequence
import re
from typing import Any

from common import loading
from contracts import schema as schema_lib
from export import parity
from export.forms import registry as forms
from export.variants import base
from export.variants import clustered
from export.variants import dynamic_range
from export.variants import float16
from export.variants import float32
from export.variants import int8
from export.variants import int8_io
from export.variants import pruned
from export.variants import qat
from export.variants import step
from export.variants import train

_FLAG = '--variants'
_VARIANTS: tuple[base.Variant, ...] = (
  float32.Float32(),
  float16.Float16(),
  dynamic_range.DynamicRange(),
  int8.Int8(),
  int8_io.Int8InOut(),
  qat.QuantizationAware(),
  clustered.Clustered(),
  pruned.Pruned(),
  step.Step(),
  step.StepDynamicRange(),
  train.Train(),
)
VARIANTS = {variant.name: variant for variant in _VARIANTS}
DEFAULT = ('float32', 'dynamic_range')
# Part of the default where each element of a sequence has an answer, if the model has that form.
DEFAULT_OF_SEQUENCES = ('step', 'step_dynamic_range')
# Part of the default if there are examples to learn from.
LEARNING = tuple(name for name, variant in VARIANTS.items() if variant.calibration != 'none')

_CALIBRATIONS = ('none', 'public', 'released')
_NAME = re.compile('[a-z][a-z0-9_]*')


def choose_default(schema: schema_lib.Schema) -> tuple[str, ...]:
  """Returns the variants that are written if the flag is not given."""
  return (*DEFAULT, *(DEFAULT_OF_SEQUENCES if schema.is_sequence else ()))


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


def reference_of(variant: base.Variant) -> base.Variant:
  """Returns the variant whose file shows whether the graph of another one is right."""
  return VARIANTS[forms.FORMS[variant.form].reference]


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
  if not isinstance(variant.form, str) or variant.form not in forms.FORMS:
    raise ValueError(
      f'Expected {name} to have a form among {", ".join(forms.FORMS)}, found {variant.form!r}: choose one of these.'
    )
  if variant.calibration not in _CALIBRATIONS:
    raise ValueError(
      f'Expected {name} to have a calibration among {", ".join(_CALIBRATIONS)}, found {variant.calibration!r}: remove '
      'it if convert needs no examples.'
    )
  if type(variant.max_examples) is not int or variant.max_examples < 1 or not isinstance(variant.learned, str):
    raise ValueError(
      f'Expected {name} to have max_examples >= 1 and a phrase learned, found {variant.max_examples!r} and '
      f'{variant.learned!r}: remove them, or correct them.'
    )
