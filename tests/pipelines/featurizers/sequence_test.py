"""Tests of what characters, words and items have in common."""

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.featurizers import characters
from pipelines.featurizers import items
from pipelines.featurizers import sequence
from pipelines.featurizers import vocabularies
from pipelines.featurizers import words

_ASKED: tuple[sequence.Sequence, ...] = (
  characters.Characters('x', 3, vocabularies.Alphabet('dp', epsilon=1.0, delta=1e-6)),
  words.Words('x', vocabularies.Words('dp', epsilon=1.0, delta=1e-6), 3),
  items.Items('x', vocabularies.Items('dp', epsilon=1.0, delta=1e-6), 3),
)


class SequenceTest(parameterized.TestCase):
  @parameterized.parameters(*_ASKED)
  def test_what_is_learned_is_filled_in(self, asked: sequence.Sequence) -> None:
    self.assertIsNotNone(asked.learner)
    self.assertEmpty(asked.provenance)
    with self.assertRaisesRegex(ValueError, f'Expected the {asked.vocabulary_in_use.UNIT} of x to be known'):
      _ = asked.schema
    learned = asked.with_learned(['ж'])
    self.assertIsNone(learned.learner)
    self.assertEqual((learned.schema.classes[-1], learned.vocabulary_in_use.entries), ('ж', ('ж',)))

  def test_what_is_declared_is_named_in_the_manifest(self) -> None:
    (entry,) = items.Items('x', vocabularies.Items('declared', ('a', 'b'))).provenance
    self.assertEqual((entry['what'], entry['source'], entry['items']), ('vocabulary', 'declared', 2))

  def test_windows(self) -> None:
    self.assertEqual(_ASKED[0].weight_needed(4), 13)
    with self.assertRaisesRegex(ValueError, 'Expected 1 <= window_length <= 65536, found 0'):
      items.Items('x', vocabularies.Items('declared', ('a',)), 0)


if __name__ == '__main__':
  absltest.main()
