"""Tests of what the card says of step files; tests/export/snippets run the code."""

import json

from absl.testing import absltest
from absl.testing import parameterized

from export import parity
from export import preprocessing
from export import step_usage
from export.snippets import facts as facts_lib
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import items
from pipelines.featurizers import vocabularies
from pipelines.featurizers import words
from tests.export import fakes

_FEATURIZERS = {
  'words': words.Words('text', vocabularies.Words('declared', words=('to', 'be')), 12),
  'items': items.Items('place', vocabularies.Items('declared', items=tuple('abcdefg')), 12),
}


def _facts(featurizer: base.Featurizer, num_states: int = 1) -> facts_lib.Facts:
  """Returns the facts of an export of step files alone."""
  states = [
    (kind, f'{prefix}state_{index}')
    for index in range(num_states)
    for kind, prefix in (('input', ''), ('output', 'next_'))
  ]
  ends: list[parity.End] = [('input', 'words', 'int32', (1,)), ('output', 'logits', 'float32', (1, 9))]
  ends += [(kind, state, 'float32', (1, 8)) for kind, state in states]
  steps = preprocessing.describe(fakes.manifest(featurizer), {'step': ends})
  return facts_lib.Facts(json.loads(json.dumps(steps)), 'file.tflite', is_step=True)


class StepUsageTest(parameterized.TestCase):
  def test_words(self) -> None:
    found = step_usage.describe(_facts(_FEATURIZERS['words'], num_states=2))
    self.assertIn(
      'cut it into words by the `tokenization` of `preprocessing.json`, and feed these, and `<end>` a', found.text
    )
    self.assertIn('states `state_0` (next_state_0) and `state_1` (next_state_1) begin with zeros', found.text)
    self.assertIn('no sequence of more than 12 elements', found.text)
    self.assertIn("{'state_0': np.zeros([1, 8], np.float32), 'state_1': np.zeros([1, 8], np.float32)}", found.code)

  @parameterized.parameters((True, ', and a newline after each message.'), (False, 'feed its characters. Step'))
  def test_what_stands_between_two_texts(self, end_token: bool, expected: str) -> None:
    self.assertIn(expected, step_usage.describe(_facts(characters.Characters('text', 12, end_token=end_token))).text)

  def test_knows_no_more_of_what_somebody_else_made(self) -> None:
    facts = _facts(_FEATURIZERS['items'])
    own = facts_lib.Facts({**facts.steps, 'examples': {'kind': 'mine.of.Kind'}}, facts.path, is_step=True)
    found = step_usage.describe(own)
    self.assertStartsWith(found.text, 'Step files take one element of a sequence a call')
    self.assertIn('def feed(code, state):', found.code)
    self.assertNotIn('def cut', found.code)


if __name__ == '__main__':
  absltest.main()
