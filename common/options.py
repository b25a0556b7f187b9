"""Builds a part with the options that a flag gives it: a frozen dataclass whose fields are the options. A leaf."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import inspect
import math
import typing
from typing import Any

from common import loading
from common import suggestions

_BOOLEANS = {'true': True, 'false': False}


def build(flag: str, name: str, kind: Any, options: Sequence[str]) -> Any:
  """Returns an object of a frozen dataclass.

  Args:
    flag: The flag that has the options, for messages.
    name: What the user calls the class, for messages.
    kind: The class. Its fields are the options: each an int, float, bool or str.
    options: Each `name=value`.

  Raises:
    ValueError: If the options are not those of the class, or it refuses their values.
  """
  types = typing.get_type_hints(kind)
  fields = {field.name: types[field.name] for field in dataclasses.fields(kind) if field.init}
  values = _parse(flag, name, options, fields)
  missing = [field.name for field in dataclasses.fields(kind) if _is_required(field) and field.name not in values]
  if missing:
    raise ValueError(f'Expected the options {", ".join(missing)} of {name}, found none: add {flag}={missing[0]}=VALUE.')
  return kind(**values)


def build_named(
  flag: str,
  name: str,
  built_in: Mapping[str, Any],
  check: Callable[[str, Any], None],
  options: Sequence[str],
) -> Any:
  """Returns a part that a flag names, with the options of that flag.

  Args:
    flag: Such as `--part`; its options are those of `--part_options`.
    name: A key of `built_in`, or `package.module:attribute`.
    built_in: The classes that have a name.
    check: Raises a `ValueError` if a class of that name is no such part.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such class, it is no frozen dataclass or no such part, or its options are not these.
  """
  kind = loading.find(flag, name, built_in)
  loading.check_dataclass(name, kind)
  check(name, kind)
  return build(f'{flag}_options', name, kind, options)


def derives(what: str, base: type) -> Callable[[str, Any], None]:
  """Returns a check for `build_named` that a class derives from another one and has its abstract methods.

  Args:
    what: What such a class is called, with its article: `a sampler`.
    base: The class to derive from.
  """
  methods = sorted(getattr(base, '__abstractmethods__', ()))
  needed = f'the method{"s" * (len(methods) > 1)} {" and ".join(methods)}'

  def check(name: str, kind: Any) -> None:
    if not issubclass(kind, base) or kind.__abstractmethods__:
      raise ValueError(
        f'Expected {what}, found {name!r}: derive it from {base.__name__} of {base.__module__.replace(".", "/")}.py '
        f'and add {needed}.'
      )

  return check


def takes(kind: Any, method: str, count: int) -> bool:
  """Returns whether the objects of a class have a method that can be called with so many arguments."""
  found = getattr(kind, method, None)
  if not callable(found):
    return False
  try:
    inspect.signature(found).bind(*[None] * (1 + count))  # The object is the first of them.
  except TypeError:
    return False
  return True


def _is_required(field: Any) -> bool:
  return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _parse(flag: str, name: str, options: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Any]:
  values: dict[str, Any] = {}
  for option in options:
    key, equals, text = option.partition('=')
    if key not in fields:
      remedy = suggestions.suggest(key, fields, f'leave it out of {flag}.')
      raise ValueError(f'Expected {flag} among {", ".join(fields) or "none"} for {name}, found {key!r}: {remedy}')
    if not equals or key in values:
      raise ValueError(f'Expected {flag} with one {key}=VALUE, found {", ".join(options)}: write it once.')
    values[key] = _convert(flag, key, text, fields[key])
  return values


def _convert(flag: str, key: str, text: str, kind: Any) -> Any:
  if kind is str:
    return text
  try:
    value = _BOOLEANS[text.lower()] if kind is bool else {int: int, float: float}[kind](text)
  except (KeyError, ValueError) as error:
    what = {int: 'an integer', float: 'a number', bool: 'true or false'}.get(kind)
    if what is None:
      raise ValueError(f'Expected option {key} to be an int, float, bool or str, found {kind}: change it.') from error
    raise ValueError(f'Expected {what} for option {key}, found {text!r}: write {flag}={key}=VALUE.') from error
  if not math.isfinite(value):
    raise ValueError(f'Expected a finite number for option {key}, found {text!r}: write {flag}={key}=VALUE.')
  return value
