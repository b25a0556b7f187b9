from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import vocabularies
from pipelines.featurizers import words
from pipelines.rows import rows as rows_lib

_IGNORED = schema_lib.IGNORED_LABEL
_DECLARED = vocabularies.Words('declared', ('to', 'be', ','))
_TO, _BE, _COMMA = 3, 4, 5
_UNKNOWN, _END = 1, 2


def _rows(*clients: list[str]) -> rows_lib.ClientRows:
  texts = pa.array([text for client in clients for text in client], pa.large_string())
  return rows_lib.ClientRows(pa.table({'text': texts}), np.cumsum([0, *map(len, clients)]))


class WordsTest(parameterized.TestCase):
  def test_schema(self) -> None:
    schema = words.Words('text', _DECLARED, 4).schema
    self.assertEqual(schema.classes, ('<pad>', '<unknown>', '<end>', 'to', 'be', ','))
    self.assertEqual((schema.task, schema.feature.shape, schema.label.shape), ('next_word', (4,), (4,)))

  def test_rows_follow_each_other_with_an_end_after_each(self) -> None:
    made = words.Words('text', _DECLARED, 4).featurize(_rows(['To be,', 'be'], [], ['be to']))
    self.assertEqual(made.features.tolist(), [[_TO, _BE, _COMMA, _END], [_BE, 0, 0, 0], [_BE, _TO, 0, 0]])
    self.assertEqual(made.labels[0].tolist(), [_BE, _COMMA, _END, _BE])
    self.assertEqual(made.labels[1].tolist(), [_END, _IGNORED, _IGNORED, _IGNORED])
    self.assertEqual(made.labels[2].tolist(), [_TO, _END, _IGNORED, _IGNORED])
    self.assertEqual(made.starts.tolist(), [0, 2, 2, 3])
    self.assertEqual((made.first_row.tolist(), made.last_row.tolist()), ([0, 1, 2], [1, 1, 2]))

  def test_an_unknown_word_is_a_feature_but_no_answer(self) -> None:
    made = words.Words('text', _DECLARED, 4).featurize(_rows(['to err, be']))
    self.assertEqual(made.features.tolist(), [[_TO, _UNKNOWN, _COMMA, _BE]])
    self.assertEqual(made.labels.tolist(), [[schema_lib.UNKNOWN_LABEL, _COMMA, _BE, _END]])
    self.assertEqual([*made.unknown] if made.unknown is not None else None, [1])

  def test_without_an_end_rows_go_on(self) -> None:
    featurizer = words.Words('text', _DECLARED, 3, end_token=False)
    self.assertEqual(featurizer.schema.classes, ('<pad>', '<unknown>', 'to', 'be', ','))
    rows = _rows(['to be', '', ', be'], ['be to'])
    made = featurizer.featurize(rows)
    self.assertEqual(made.features.tolist(), [[2, 3, 4], [3, 0, 0]])
    self.assertEqual(made.labels.tolist(), [[3, 4, 3], [2, _IGNORED, _IGNORED]])
    self.assertEqual((made.first_row.tolist(), made.last_row.tolist()), ([0, 3], [2, 3]))
    self.assertEqual(featurizer.weigh(rows.table).tolist(), [2, 0, 2, 2])

  def test_a_text_without_words_is_an_end(self) -> None:
    made = words.Words('text', _DECLARED, 2).featurize(_rows(['', ' \n'], ['']))
    self.assertEqual((made.features.tolist(), made.labels.tolist()), ([[_END, 0]], [[_END, _IGNORED]]))
    self.assertEqual(made.starts.tolist(), [0, 1, 1])

  def test_no_rows(self) -> None:
    made = words.Words('text', _DECLARED, 3).featurize(_rows())
    self.assertEqual((made.features.shape, made.labels.shape, made.starts.tolist()), ((0, 3), (0, 3), [0]))

  def test_rows_of_the_needed_weight_give_the_examples(self) -> None:
    featurizer = words.Words('text', _DECLARED, 3)
    texts = ['to be', '', 'be, be', 'to', 'to be to be']
    weights = featurizer.weigh(_rows(texts).table)
    for examples in range(1, 5):
      needed = int(np.searchsorted(np.cumsum(weights), featurizer.weight_needed(examples))) + 1
      made, every = (featurizer.featurize(_rows(rows)) for rows in (texts[:needed], texts))
      np.testing.assert_array_equal(made.features[:examples], every.features[:examples])
      np.testing.assert_array_equal(made.labels[:examples], every.labels[:examples])

  @parameterized.parameters((124, 'int8'), (125, 'int8'), (126, 'int16'), (40_000, 'int32'))
  def test_codes_fit_their_type(self, count: int, dtype: str) -> None:
    known = vocabularies.Words('declared', tuple(f'w{place}' for place in range(count)))
    featurizer = words.Words('text', known, 2)
    made = featurizer.featurize(_rows([f'w{count - 1} w{count - 1}']))
    self.assertEqual((featurizer.schema.feature.dtype, featurizer.schema.label.dtype), (dtype, dtype))
    self.assertEqual((made.features.dtype, made.labels.dtype), (dtype, dtype))
    self.assertEqual([*made.features[0], made.labels[0][0]], [count + 2] * 3)

  def test_learned_words_are_filled_in(self) -> None:
    featurizer = words.Words('text', vocabularies.Words('dp', epsilon=1.0, delta=1e-6))
    self.assertIsNotNone(featurizer.learner)
    self.assertEmpty(featurizer.provenance)
    with self.assertRaisesRegex(ValueError, 'Expected the words of text to be known'):
      featurizer.featurize(_rows(['to be']))
    learned = featurizer.with_learned(['be', 'to'])
    self.assertIsNone(learned.learner)
    self.assertEqual(learned.schema.classes[3:], ('be', 'to'))

  def test_declared_words_are_named_in_the_manifest(self) -> None:
    (entry,) = words.Words('text', _DECLARED).provenance
    self.assertEqual((entry['source'], entry['words'], entry['epsilon']), ('declared', 3, 0.0))

  def test_a_window_has_words(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected 1 <= window_length <= 65536, found 0'):
      words.Words('text', _DECLARED, 0)


if __name__ == '__main__':
  absltest.main()
