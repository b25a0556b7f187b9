"""The model card: what a person who puts the file on a device has to know, in Markdown. A leaf."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

import jinja2

_TEMPLATE = 'model_card.md.j2'


def render(
    model: Mapping[str, Any],
    parity: Mapping[str, Any],
    privacy: Mapping[str, Any],
    run: Mapping[str, Any],
    flags: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
) -> str:
  """Returns the text of MODEL_CARD.md.

  Args:
    model: task, round, weights, num_classes, and `signature`, a list of rows (kind, name, dtype, shape).
    parity: What parity.json holds.
    privacy: The run's privacy.json; empty if it left none.
    run: The run's run.json; empty if it left none.
    flags: The run's flags, secrets withheld.
    versions: Package name to version.
  """
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(os.path.dirname(__file__)), autoescape=False, undefined=jinja2.StrictUndefined,
      trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
  )  # fmt: skip
  environment.filters['cell'] = _cell
  return environment.get_template(_TEMPLATE).render(
      model=model, parity=parity, privacy=privacy, run=run, versions=versions,
      usage=_USAGE.get(model['task']), flags=[(name, value) for name, value in flags if not name.endswith('_dir')],
  )


# How a caller fills the input and reads the output, by task.
_USAGE = {
    'next_character': (
        'Write the text from position 0 on, each character as its place in `classes.json` (1, `<unknown>`, for one '
        'that is not there), and fill the rest up with 0. Position i of the output scores the character after '
        'position i: for a text of n characters, the next one is the largest of position n - 1.'
    ),
    'handwriting': (
        'Write the image as it comes from a scanner: grey values from 0 (black ink) to 255 (white paper), not scaled. '
        'The largest of the output is the character.'
    ),
}


def _cell(value: object) -> str:
  """Keeps a value that somebody typed from being read as Markdown or HTML."""
  text = ' '.join(str(value).split())
  for special in '\\`*_<>|[]':
    text = text.replace(special, f'\\{special}')
  return text
