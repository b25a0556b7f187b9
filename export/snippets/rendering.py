"""Code that runs the exported model, ready to copy into an app: a file for each language, from templates."""

from collections.abc import Callable, Mapping, Sequence
import functools
import json
import math
import re
from typing import Any

import jinja2

from common import invisible
from export import templates
from export.snippets import facts as facts_lib

PYTHON = 'predict.py'
JAVASCRIPT = 'predict.mjs'
KOTLIN = 'Predictor.kt'
SWIFT = 'Predictor.swift'
NAMES = (PYTHON, JAVASCRIPT, KOTLIN, SWIFT)
# Of a folder with a file that trains.
TRAINING_NAMES = ('train.py', 'train.mjs', 'Trainer.kt', 'Trainer.swift')
# Control characters, ends of lines, and characters that show what follows in another order.
_UNSAFE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]')


def render(name: str, facts: facts_lib.Facts) -> str:
  """Returns the code of one language.

  Args:
    name: One of `NAMES` or, if there is a file that trains, of `TRAINING_NAMES`.
    facts: What it is about.
  """
  if facts.unsupported:
    comment = '#' if name.endswith('.py') else '//'
    return f'{comment} No code for {facts.path}: {facts.unsupported} Export float32 or dynamic_range to get some.\n'
  return _environment().get_template(f'{name}.j2').render(facts=facts)


@functools.cache
def _environment() -> jinja2.Environment:
  environment = templates.build_environment(__file__, autoescape=False)
  environment.filters.update(_FILTERS)
  environment.globals['without_glyph'] = _WITHOUT_GLYPH
  return environment


def _find(ends: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
  """Returns the input or output of a name."""
  return next(end for end in ends if end['name'] == name)


def _quote(text: str, escape: str = r'\u{{{:x}}}') -> str:
  """Returns a literal of JavaScript and of Swift, which can stand in a comment of one line as well."""
  plain = text.replace('\\', r'\\').replace('"', r'\"').replace('\n', r'\n')
  return f'"{_UNSAFE.sub(lambda match: escape.format(ord(match[0])), plain)}"'


def _quote_kotlin(text: str) -> str:
  return _quote(text, r'\u{:04x}').replace('$', r'\$')


_FILTERS: Mapping[str, Callable[..., Any]] = {
  'json': json.dumps,
  'kotlin': _quote_kotlin,
  'named': _find,
  'python': repr,
  'quoted': _quote,
  'size': math.prod,
}
# In regular expressions, within the brackets of a class.
_WITHOUT_GLYPH = {
  'python': invisible.write_class(r'\U{:08x}'),
  'javascript': invisible.write_class(r'\u{{{:x}}}'),
  'icu': invisible.write_class(r'\x{{{:x}}}'),
}
