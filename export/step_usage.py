"""How an app feeds a step file, for the model card: in words, and as Python code that runs in the model folder.

Made from preprocessing.json, as `usage` is.
"""

from typing import NamedTuple

from export.snippets import facts as facts_lib
from export.snippets import rendering

# How elements are made, by kind of example.
_KINDS = {
  'characters': 'Bring the text into Unicode form {unicode_normalization}, and feed its characters{separator}.',
  'words': (
    'Bring the text into Unicode form {unicode_normalization}, cut it into words by the `tokenization` of '
    '`preprocessing.json`, and feed these{separator}.'
  ),
  'items': (
    'Bring each item into the `normal_form` of `preprocessing.json`, and feed the items of one person, the oldest '
    'first.'
  ),
}
_SEPARATORS = {'': '', '\n': ', and a newline after each message'}


class StepUsage(NamedTuple):
  """How to feed a step file: Markdown, and Python code."""

  text: str
  code: str


def describe(facts: facts_lib.Facts) -> StepUsage:
  """Returns how to feed a step file, with code.

  Args:
    facts: Of one.
  """
  return StepUsage(explain(facts), rendering.render(rendering.PYTHON, facts))


def explain(facts: facts_lib.Facts) -> str:
  """Returns how to feed a step file, in words; see `describe`."""
  names = ' and '.join(f'`{state["input"]}` ({state["output"]})' for state in facts.states)
  text = (
    f'Step files take one element of a sequence a call, and no padding. Their states {names} begin with zeros. '
    f'Feed what a call returns as a state to the next call. The model has seen no sequence of more than '
    f'{facts.longest} elements: after as many, begin again from zeros with the end of the sequence.'
  )
  if facts.is_sequence:
    separator = _SEPARATORS.get(facts.separator, f', and `{facts.separator}` after each message')
    made = _KINDS[facts.kind].format(separator=separator, **{'unicode_normalization': '', **facts.examples})
    text = f'{made} {text}'
  return text
