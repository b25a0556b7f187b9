"""How an app feeds a step file, for the model card: in words, and as Python code that runs in the model folder. A leaf.

Made from preprocessing.json, as `usage` is.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

# By kind of example: how elements are made, what one is called, and some for the code to feed.
_KINDS = {
  'characters': (
    'Bring the text into Unicode form {unicode_normalization}, and feed its characters{separator}.',
    'character',
    "'to be, or no'",
  ),
  'words': (
    'Bring the text into Unicode form {unicode_normalization}, cut it into words by the `tokenization` of '
    '`preprocessing.json`, and feed these{separator}.',
    'word',
    "['to', 'be', ',', 'or']",
  ),
  'items': (
    'Bring each item into the `normal_form` of `preprocessing.json`, and feed the items of one person, the oldest '
    'first.',
    'item',
    'CLASSES[FIRST_ANSWER : FIRST_ANSWER + 3]',
  ),
}
_SEPARATORS = {'': '', '\n': ', and a newline after each message'}
# What the code imports, and where its interpreter is.
_LITERT = ('from ai_edge_litert import interpreter as litert\nimport numpy as np', 'litert')
_WITH_FLEX = ('import numpy as np\nimport tensorflow as tf', 'tf.lite')
_CODE = '''\
import json

{imports}

with open('{classes}', encoding='utf-8') as file:
  CLASSES = json.load(file)
CODES = {{name: code for code, name in enumerate(CLASSES)}}
FIRST_ANSWER = {first_answer}
LONGEST = {longest}
START = {{{start}}}
STEP = {runtime}.Interpreter('{path}').get_signature_runner()


def feed({element}, state):
  """Returns the logits of what follows, and the new state."""
  code = np.array([CODES.get({element}, CODES['{unknown}'])], np.{dtype})
  outputs = STEP(**{{{name!r}: code}}, **state)
  return outputs[{output!r}][0], {{{state}}}


fed, state = [], START
for {element} in {some}:
  if len(fed) == LONGEST:  # The model has seen no longer sequence: begin again with the end of this one.
    fed, state = fed[-LONGEST // 2 :], START
    for earlier in fed:
      _, state = feed(earlier, state)
  fed.append({element})
  logits, state = feed({element}, state)
  best = FIRST_ANSWER + np.argsort(-logits[FIRST_ANSWER:])[:3]
  print({element}, [CLASSES[code] for code in best])
'''


class StepUsage(NamedTuple):
  """How to feed a step file: Markdown, and Python code; no code for a kind of example that is not built in."""

  text: str
  code: str = ''


def describe(steps: Mapping[str, Any], path: str, needs_flex: bool = False) -> StepUsage:
  """Returns how to feed a step file.

  Args:
    steps: What preprocessing.json holds, of a folder that has step files.
    path: The name of the file.
    needs_flex: Whether only TensorFlow can run it.
  """
  step, examples = steps['step'], steps['examples']
  names = ' and '.join(f'`{state["input"]}` ({state["output"]})' for state in step['states'])
  text = (
    f'Step files take one element of a sequence a call, and no padding. Their states {names} begin with zeros. '
    f'Feed what a call returns as a state to the next call. The model has seen no sequence of more than '
    f'{step["longest"]} elements: after as many, begin again from zeros with the end of the sequence.'
  )
  if examples.get('kind') not in _KINDS:
    return StepUsage(text)
  how, element, some = _KINDS[examples['kind']]
  after = examples.get('after_each_text', '')
  separator = _SEPARATORS.get(after, f', and `{after}` after each message')
  made = how.format(separator=separator, **{'unicode_normalization': '', **examples})
  imports, runtime = _WITH_FLEX if needs_flex else _LITERT
  code = _CODE.format(
    imports=imports,
    runtime=runtime,
    classes=steps['classes'],
    first_answer=steps['first_answer'],
    longest=step['longest'],
    start=', '.join(
      f'{state["input"]!r}: np.zeros({list(state["shape"])}, np.{state["dtype"]})' for state in step['states']
    ),
    path=path,
    element=element,
    unknown=examples['unknown'],
    dtype=step['input']['dtype'],
    name=step['input']['name'],
    output=step['output']['name'],
    state=', '.join(f'{state["input"]!r}: outputs[{state["output"]!r}]' for state in step['states']),
    some=some,
  )
  return StepUsage(f'{made} {text}', code)
