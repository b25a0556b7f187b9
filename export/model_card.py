"""The model card: what a person who puts the file on a device has to know, in Markdown."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

import jinja2

from export import comparison
from pipelines import guarantees
from pipelines import printable

_TEMPLATE = 'model_card.md.j2'


def render(
    model: Mapping[str, Any],
    steps: Mapping[str, Any],
    parity: Mapping[str, Any],
    privacy: Mapping[str, Any],
    run: Mapping[str, Any],
    flags: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
) -> str:
  """Returns the text of MODEL_CARD.md.

  Args:
    model: task, data_set and run (their names), round, weights, num_classes, and `signature`, a list of rows (kind,
      name, dtype, shape).
    steps: What preprocessing.json holds.
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
  environment.filters.update(cell=_cell, delta=guarantees.format_delta, epsilon=guarantees.format_epsilon)
  return environment.get_template(_TEMPLATE).render(
      model=model, names=_PRIVACY_NAMES, parity=parity, privacy=privacy, run=run, versions=versions,
      usage=_USAGE.get(steps['examples'].get('kind', '')),
      comparison=comparison.describe(run),
      flags=[(name, value) for name, value in flags if not name.endswith('_dir')],
  )


_PRIVACY_NAMES = {'bound': 'Bound', 'noise': 'Noise', 'assumption': 'Assumption', 'trust_model': 'Who sees what'}

# How a caller fills the input and reads the output, by kind of example; names in `` are keys of preprocessing.json.
_SEQUENCE = 'and fill the rest up with 0, `<pad>`. Of a longer text, take the end.'
_NEVER = 'without those before `first_answer` of `preprocessing.json`, which are never an answer'
_SCALED = 'each less its `mean` and divided by its `stddev`'
_USAGE = {
    'characters': (
        'Write the text from position 0 on, each character as its place in `classes.json` (1, `<unknown>`, for one '
        f'that is not there), a newline after each message, {_SEQUENCE} Position i of the output scores the character '
        f'after position i: for a text of n characters, the next one is the largest of position n - 1, {_NEVER}.'
    ),
    'words': (
        'Cut the text into words by the `tokenization` of `preprocessing.json`. Write them from position 0 on, each as '
        'its place in `classes.json` (1, `<unknown>`, for one that is not there), 2, `<end>`, after each message, '
        f'{_SEQUENCE} Position i of the output scores the word after position i: for a text of n words (marks and '
        f'`<end>` are words too), those to suggest are the largest of position n - 1, {_NEVER}.'
    ),
    'table': (
        f'Write the row of one example: the `numbers` of `preprocessing.json` in their order, {_SCALED}; then for each '
        'of the `categories`, in their order, a 1 at the place of its value among the `values` and 0 at those of all '
        'others. A number that is not there is, before scaling, `missing`; if that is null, or a value is not among '
        'those of its category, do not ask the model: it has never seen such a row. The largest of the output is the '
        'class.'
    ),
    'windows': (
        'Write `length` readings, the oldest first and as far apart as those of the data set: of each the `numbers` of '
        f'`preprocessing.json` in their order, {_SCALED}. The largest of the output is the class that most of these '
        'readings belong to.'
    ),
    'image': (
        'Write the image row by row from the top, as grey values from 0 (black ink) to 255 (white paper), not scaled, '
        'with the ink in the frame as in the images of the data set. If `invert` in `preprocessing.json` is true, '
        'those were white on black and have been turned into black on white. The largest of the output is the class of '
        'what is written.'
    ),
}


def _cell(value: object) -> str:
  """Keeps a value that somebody typed from being read as Markdown or HTML."""
  text = printable.show(' '.join(str(value).split()))
  for special in '\\`*_<>|[]':
    text = text.replace(special, f'\\{special}')
  return text
