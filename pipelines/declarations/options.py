"""Builds options, which are frozen dataclasses, from the tables of a TOML file, and says how to correct a mistake."""

from collections.abc import Collection, Iterable
import dataclasses
import difflib
import json
import re
import sys
import types
import typing
from typing import Any, NamedTuple, TypeVar

from common import suggestions
from pipelines.declarations import documents

_T = TypeVar('_T')

_SHOWN = 60


class _Form(NamedTuple):
  """How values of a type are called, and what one looks like."""

  name: str
  plural: str
  example: str


_FORMS: dict[type, _Form] = {
  str: _Form('text', 'texts', '"text"'),
  bool: _Form('true or false', 'true or false', 'true'),
  int: _Form('an integer', 'integers', '12'),
  float: _Form('a number', 'numbers', '0.5'),
}


def build(kind: type[_T], document: documents.Document, path: documents.Path, besides: Collection[str] = ()) -> _T:
  """Builds a dataclass from the table at `path`; without that table, from nothing.

  Its annotations say what each key may be: text, integers, numbers, true or false, lists of them (tuples), tables
  (dataclasses), lists of tables. A dataclass with a method `load(folder)`, which returns another of its kind, is asked
  to read the files that it names.

  Args:
    kind: The dataclass.
    document: What was declared.
    path: The table.
    besides: Keys of the table that are no fields.

  Raises:
    ValueError: If a key is unknown or missing, or a value is not what it should be: one line with its place.
  """
  fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind)) if field.init}
  hints = typing.get_type_hints(kind)
  given = check_keys(document, path, [*besides, *fields])
  for name, field in fields.items():
    if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
      raise _missing(document, (*path, name), hints[name])
  arguments = {name: _convert(hints[name], document, (*path, name)) for name in fields if name in given}
  try:
    built = kind(**arguments)
    return built.load(document.folder) if hasattr(built, 'load') else built
  except OSError as error:
    problem = f'Expected a file that can be read, found {error.filename} ({error.strerror}): correct the path.'
    raise document.mistake(_blame(document, path, problem), problem) from error
  except ValueError as error:
    raise document.mistake(_blame(document, path, str(error)), error) from error


def require(annotation: type[_T], document: documents.Document, path: documents.Path) -> _T:
  """Returns the value at `path`, which is no table, as the type that it should have.

  Raises:
    ValueError: If it is missing or has another type.
  """
  if document.get(path) is None:
    found = _nearest(str(path[-1]), _table(document, path[:-1]))
    if found:
      raise document.mistake((*path[:-1], found), f'Expected {path[-1]}, found {found}: correct it.')
    raise _missing(document, path, annotation)
  return _convert(annotation, document, path)


def check_keys(document: documents.Document, path: documents.Path, known: Collection[str]) -> dict[str, Any]:
  """Returns the table at `path`, which may be missing.

  Raises:
    ValueError: If it is no table, or has another key than those known.
  """
  table = _table(document, path)
  for key in table:
    if key not in known:
      where = f'a key of {_header(path)}' if path else 'a table of a declaration'
      raise document.mistake(
        (*path, key), f'Expected {where}, found {key!r:.{_SHOWN}}: {suggestions.suggest(key, known)}'
      )
  return table


def _table(document: documents.Document, path: documents.Path) -> dict[str, Any]:
  table = document.get(path)
  if table is None:
    return {}
  if not isinstance(table, dict):
    message = f'Expected a table {_header(path)}, found {_show(table)}: write its keys below a line {_header(path)}.'
    raise document.mistake(path, message)
  return table


def _nearest(name: str, known: Iterable[str]) -> str | None:
  return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def _convert(annotation: Any, document: documents.Document, path: documents.Path) -> Any:
  value = document.get(path)
  members = _members(annotation)
  kind = next((member for member in members if _fits(member, value)), None)
  if kind is None:
    names = ', or '.join(_form(member).name for member in members)
    message = f'Expected {_name(path)} to be {names}, found {_show(value)}: write it like {_form(members[0]).example}.'
    raise document.mistake(path, message)
  if typing.get_origin(kind) is tuple:
    element = typing.get_args(kind)[0]
    return tuple(_convert(element, document, (*path, place)) for place in range(len(value)))
  if dataclasses.is_dataclass(kind):
    return build(typing.cast(type, kind), document, path)
  return float(value) if kind is float else value


def _members(annotation: Any) -> list[Any]:
  """Returns the types that a value may have: None is what a missing key gives, and cannot be written."""
  if typing.get_origin(annotation) in (types.UnionType, typing.Union):
    return [member for member in typing.get_args(annotation) if member is not types.NoneType]
  return [annotation]


def _fits(kind: Any, value: Any) -> bool:
  """Says whether a value, leaving aside what is inside, is of a type."""
  _form(kind)
  if typing.get_origin(kind) is tuple:
    return isinstance(value, list)
  if dataclasses.is_dataclass(kind):
    return isinstance(value, dict)
  if kind is float:
    # NaN would slip through any check of a range, and neither it nor infinity can be written to a manifest.
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max
  return type(value) is kind and (kind is not int or -(2**63) <= value < 2**63)


def _form(kind: Any) -> _Form:
  if typing.get_origin(kind) is tuple:
    inner = [_form(member) for member in _members(typing.get_args(kind)[0])]
    plural = ' or '.join(form.plural for form in inner)
    return _Form(f'a list of {plural}', f'lists of {plural}', f'[{inner[0].example}]')
  if dataclasses.is_dataclass(kind):
    return _Form('a table', 'tables', _example(kind))
  if kind not in _FORMS:
    raise TypeError(f'Expected a field of text, numbers, tables or tuples, found {kind}: declare it otherwise.')
  return _FORMS[kind]


def _example(kind: Any) -> str:
  hints = typing.get_type_hints(kind)
  missing = dataclasses.MISSING
  needed = [field.name for field in dataclasses.fields(kind) if field.default is field.default_factory is missing]
  return '{' + ', '.join(f'{name} = {_form(_members(hints[name])[0]).example}' for name in needed) + '}'


def _missing(document: documents.Document, path: documents.Path, annotation: Any) -> ValueError:
  kind = _members(annotation)[0]
  remedy = f'{path[-1]} = {_form(kind).example}'
  if dataclasses.is_dataclass(kind):
    remedy = f'a table {_header(path)}'
  message = f'Expected {_header(path[:-1])} to say {path[-1]}, found nothing: add {remedy}.'
  return document.mistake(path, message)


def _blame(document: documents.Document, path: documents.Path, message: str) -> documents.Path:
  """Returns the key in the table that a message is about, an overridden one first; the table if it names none."""
  keys = [below for below in document.paths_below(path) if isinstance(below[-1], str)]
  mentions = {below: re.search(rf'\b{re.escape(str(below[-1]))}\b', message) for below in keys}
  places = {below: mention.start() for below, mention in mentions.items() if mention}
  return min(places, key=lambda below: (not document.is_overridden(below), places[below]), default=path)


def _name(path: documents.Path) -> str:
  return ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in path).lstrip('.')


def _header(path: documents.Path) -> str:
  return f'[{_name(path)}]'


def _show(value: Any) -> str:
  if isinstance(value, (list, dict)):
    return 'a list' if isinstance(value, list) else 'a table'
  if isinstance(value, (str, bool)):
    return json.dumps(value, ensure_ascii=False)[:_SHOWN]
  return str(value)[:_SHOWN]
