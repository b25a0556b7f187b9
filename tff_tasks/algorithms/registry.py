"""The algorithms by name, and their options from text. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Mapping, Sequence
import dataclasses
import difflib
import math
import typing
from typing import Any

from common import loading
from tff_tasks.algorithms import base
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox

ALGORITHMS: dict[str, type[base.Algorithm]] = {
  'fed_avg': fed_avg.FedAvg,
  'fed_prox': fed_prox.FedProx,
}

_BOOLEANS = {'true': True, 'false': False}
_FLAG = '--algorithm_options'


def build(name: str, options: Sequence[str] = ()) -> base.Algorithm:
  """Returns an algorithm with its options.

  Args:
    name: A key of `ALGORITHMS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such algorithm, or its options are not these.
  """
  kind = loading.find('--algorithm', name, ALGORITHMS)
  loading.check_dataclass(name, kind)
  if not callable(getattr(kind, 'build', None)):
    raise ValueError(
      f'Expected an algorithm, found {name!r} without build: add the method that tff_tasks/algorithms/base.py shows.'
    )
  types = typing.get_type_hints(kind)
  fields = {field.name: types[field.name] for field in dataclasses.fields(kind) if field.init}
  values = _parse(name, options, fields)
  missing = [field.name for field in dataclasses.fields(kind) if _is_required(field) and field.name not in values]
  if missing:
    raise ValueError(
      f'Expected the options {", ".join(missing)} of {name}, found none: add {_FLAG}={missing[0]}=VALUE.'
    )
  return kind(**values)


def _is_required(field: Any) -> bool:
  return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _parse(name: str, options: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Any]:
  values: dict[str, Any] = {}
  for option in options:
    key, equals, text = option.partition('=')
    if key not in fields:
      near = difflib.get_close_matches(key, fields, n=1)
      remedy = f'did you mean {near[0]}?' if near else f'leave it out of {_FLAG}.'
      raise ValueError(f'Expected {_FLAG} among {", ".join(fields) or "none"} for {name}, found {key!r}: {remedy}')
    if not equals or key in values:
      raise ValueError(f'Expected {_FLAG} with one {key}=VALUE, found {", ".join(options)}: write it once.')
    values[key] = _convert(key, text, fields[key])
  return values


def _convert(key: str, text: str, kind: Any) -> Any:
  if kind is str:
    return text
  try:
    value = _BOOLEANS[text.lower()] if kind is bool else {int: int, float: float}[kind](text)
  except (KeyError, ValueError) as error:
    what = {int: 'an integer', float: 'a number', bool: 'true or false'}.get(kind)
    if what is None:
      raise ValueError(f'Expected option {key} to be an int, float, bool or str, found {kind}: change it.') from error
    raise ValueError(f'Expected {what} for option {key}, found {text!r}: write {_FLAG}={key}=VALUE.') from error
  if not math.isfinite(value):
    raise ValueError(f'Expected a finite number for option {key}, found {text!r}: write {_FLAG}={key}=VALUE.')
  return value
