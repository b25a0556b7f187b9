"""Tests that the code of the card runs as it is, and gives the answers of the whole model."""

import contextlib
import io
import json
import pathlib
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest

from export import parity
from export import preprocessing
from export import step_usage
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import items
from pipelines.featurizers import vocabularies
from pipelines.featurizers import words
from tests.export import converted
from tests.export import fakes

_WORDS = ('to', 'be', ',', 'or', 'not', 'that', 'is')
_FEATURIZERS = {
  'characters': characters.Characters('text', 12),
  'words': words.Words('text', vocabularies.Words('declared', words=_WORDS), 12),
  'items': items.Items('place', vocabularies.Items('declared', items=tuple('abcdefg')), 12),
}
_UNITS = 8


def _describe(featurizer: base.Featurizer, signature: list[parity.End]) -> dict[str, Any]:
  """Returns what preprocessing.json of an export of step files alone holds."""
  return json.loads(json.dumps(preprocessing.describe(fakes.manifest(featurizer), {'step': signature})))


def _signature(name: str = 'characters', num_states: int = 1) -> list[parity.End]:
  states = [
    (kind, f'{prefix}state_{index}')
    for index in range(num_states)
    for kind, prefix in (('input', ''), ('output', 'next_'))
  ]
  ends: list[parity.End] = [(kind, state, 'float32', (1, _UNITS)) for kind, state in states]
  return [('input', name, 'int32', (1,)), ('output', 'logits', 'float32', (1, 9)), *ends]


class StepUsageTest(parameterized.TestCase):
  def test_words(self) -> None:
    found = step_usage.describe(_describe(_FEATURIZERS['words'], _signature(num_states=2)), 'file.tflite')
    self.assertIn(
      'cut it into words by the `tokenization` of `preprocessing.json`, and feed these, and `<end>` a', found.text
    )
    self.assertIn('states `state_0` (next_state_0) and `state_1` (next_state_1) begin with zeros', found.text)
    self.assertIn('no sequence of more than 12 elements', found.text)
    self.assertIn("{'state_0': np.zeros([1, 8], np.float32), 'state_1': np.zeros([1, 8], np.float32)}", found.code)

  @parameterized.parameters((True, ', and a newline after each message.'), (False, 'feed its characters. Step'))
  def test_what_stands_between_two_texts(self, end_token: bool, expected: str) -> None:
    steps = _describe(characters.Characters('text', 12, end_token=end_token), _signature())
    self.assertIn(expected, step_usage.describe(steps, 'file.tflite').text)

  def test_knows_no_more_of_what_somebody_else_made(self) -> None:
    steps = _describe(_FEATURIZERS['items'], _signature())
    found = step_usage.describe({**steps, 'examples': {'kind': 'mine.of.Kind'}}, 'file.tflite')
    self.assertStartsWith(found.text, 'Step files take one element of a sequence a call')
    self.assertEqual(found.code, '')

  @pytest.mark.slow
  @parameterized.parameters(*_FEATURIZERS)
  def test_the_code_gives_the_answers_of_the_whole_model(self, kind: str) -> None:
    featurizer = _FEATURIZERS[kind]
    schema, folder = featurizer.schema, pathlib.Path(self.create_tempdir().full_path)
    one = np.zeros((1, 12), np.int32)
    signature = converted.answer('step', schema, _UNITS, one).signature
    (folder / 'classes.json').write_text(json.dumps(schema.classes))
    (folder / 'some.step.tflite').write_bytes(converted.make('step', schema, _UNITS))
    steps = _describe(featurizer, signature)
    code = step_usage.describe(steps, 'some.step.tflite').code
    # Twice as much as the model has seen in training, with something that is not listed.
    elements = [*schema.classes[3:8], '\u2603', *schema.classes[3:9]] * 2
    changed = code.replace(step_usage._KINDS[kind][2], repr(elements))
    self.assertNotEqual(changed, code)
    printed = self._run(folder, changed).splitlines()
    self.assertLen(printed, 24)
    codes = [list(schema.classes).index(each) if each in schema.classes else 1 for each in elements]
    for index, line in enumerate(printed):
      # After 12 elements, the last 6 are fed again.
      start = 0 if index < 12 else 6 if index < 18 else 12
      window = np.array([(codes[start : index + 1] + [0] * 12)[:12]])
      logits = converted.answer('float32', schema, _UNITS, window).logits[0, index - start]
      best = 2 + np.argsort(-logits[2:])[:3]
      self.assertEqual(line, f'{elements[index]} {[schema.classes[each] for each in best]}')

  @pytest.mark.slow
  def test_the_code_as_it_is(self) -> None:
    schema, folder = _FEATURIZERS['characters'].schema, pathlib.Path(self.create_tempdir().full_path)
    one = np.zeros((1, 12), np.int32)
    steps = _describe(_FEATURIZERS['characters'], converted.answer('step', schema, _UNITS, one).signature)
    (folder / 'classes.json').write_text(json.dumps(schema.classes))
    (folder / 'some.step.tflite').write_bytes(converted.make('step', schema, _UNITS))
    printed = self._run(folder, step_usage.describe(steps, 'some.step.tflite').code).splitlines()
    self.assertEqual([line[0] for line in printed], list('to be, or no'))

  def _run(self, folder: pathlib.Path, code: str) -> str:
    output = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(output):
      exec(compile(code, 'code of the card', 'exec'), {})
    return output.getvalue()


if __name__ == '__main__':
  absltest.main()
