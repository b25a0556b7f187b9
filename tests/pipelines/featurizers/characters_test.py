"""Tests of cutting text into windows, by hand and against a slow and plain version that sees one client at a time."""

from collections.abc import Sequence

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import vocabularies
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib

_TEXTS = strategies.text(strategies.characters(codec='utf-8'), max_size=12)
_CLIENTS = strategies.lists(strategies.lists(_TEXTS, max_size=6), max_size=5)
_IGNORED, _UNKNOWN = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL
_CLASSES = characters.Characters('text').schema.classes


def _rows(clients: Sequence[Sequence[str]], chunk_rows: int = 1000) -> rows_lib.ClientRows:
  texts = [text for rows in clients for text in rows]
  chunks = [pa.array(texts[start : start + chunk_rows]) for start in range(0, len(texts), chunk_rows)]
  table = pa.table({'text': pa.chunked_array(chunks, pa.string())})
  return rows_lib.ClientRows(table, np.cumsum([0, *map(len, clients)]))


def _featurize(window_length: int, *clients: Sequence[str]) -> base.Examples:
  return characters.Characters('text', window_length).featurize(_rows(clients))


def _decode(codes: np.ndarray) -> str:
  names = {'<pad>': '_', '<unknown>': '?'}
  kept = ['<unknown>' if code == _UNKNOWN else _CLASSES[code] for code in codes if code != _IGNORED]
  return ''.join(names.get(character, character) for character in kept)


def _plainly(window_length: int, texts: Sequence[str], rows_before: int) -> list[tuple]:
  """Returns features, labels, first row, last row and unknown of each example of one client, a character at a time."""
  places = {character: place for place, character in enumerate(_CLASSES)}
  stream = [(places.get(character, 1), row) for row, text in enumerate(texts) for character in f'{text}\n']
  examples = []
  for start in range(0, len(stream) - 1, window_length):
    window = stream[start : start + window_length + 1]
    codes, rows = [code for code, _ in window], [row + rows_before for _, row in window]
    missing = window_length + 1 - len(window)
    answers = [_UNKNOWN if code == 1 else code for code in codes[1:]]
    features, labels = codes[:-1] + [0] * missing, answers + [_IGNORED] * missing
    examples.append((features, labels, rows[0], rows[-1], features.count(1)))
  return examples


class CharactersTest(parameterized.TestCase):
  def test_the_alphabet_is_what_the_exported_models_were_promised(self) -> None:
    self.assertLen(_CLASSES, 98)
    self.assertEqual(_CLASSES[:5], ('<pad>', '<unknown>', '\n', ' ', '!'))
    self.assertEqual(_CLASSES[-1], '~')
    self.assertEqual(characters.Characters('text').provenance[0]['what'], 'alphabet')

  def test_windows_by_hand(self) -> None:
    made = _featurize(4, ['abc', 'de'], [], ['fghij'])
    self.assertEqual([_decode(window) for window in made.features], ['abc\n', 'de__', 'fghi', 'j___'])
    self.assertEqual([_decode(window) for window in made.labels], ['bc\nd', 'e\n', 'ghij', '\n'])
    self.assertSequenceEqual(made.labels[1].tolist()[2:], [_IGNORED] * 2)
    self.assertSequenceEqual(made.starts.tolist(), [0, 2, 2, 4])
    self.assertSequenceEqual(made.first_row.tolist(), [0, 1, 2, 2])
    self.assertSequenceEqual(made.last_row.tolist(), [1, 1, 2, 2])
    self.assertEqual((made.features.dtype, made.labels.dtype), (np.uint8, np.int8))

  @parameterized.named_parameters(
    ('outside_ascii', 'aéb😀', 'a?b?\n', 2),
    ('control_characters', '\t\x00\x7f', '???\n', 3),
    ('none', 'ab', 'ab\n', 0),
  )
  def test_a_character_outside_the_alphabet_is_unknown_and_counted(self, text: str, seen: str, count: int) -> None:
    made = _featurize(5, [text])
    self.assertEqual(_decode(made.features[0])[:1] + _decode(made.labels[0]), seen)
    self.assertSequenceEqual(made.unknown.tolist() if made.unknown is not None else [], [count])
    self.assertNotIn(1, made.labels)

  def test_an_unknown_character_counts_in_one_window_only(self) -> None:
    made = _featurize(2, ['abécé'])
    self.assertSequenceEqual(made.unknown.tolist() if made.unknown is not None else [], [0, 1, 1])

  def test_one_character_is_no_example(self) -> None:
    for clients in ([['']], [['', '']][:0], [[], ['']]):
      made = _featurize(4, *clients)
      self.assertEqual((made.features.shape, made.labels.shape, made.last_row.shape), ((0, 4), (0, 4), (0,)))
      self.assertSequenceEqual(made.starts.tolist(), [0] * (len(clients) + 1))

  @parameterized.named_parameters(
    ('cyrillic', 'Привет, мир', 'Привет, мир'),
    ('greek', 'Ἀρχή', 'Ἀρχή'),
    ('chinese', '你好，世界', '你好，世界'),
    ('emoji_beyond_the_first_plane', 'ok \U0001f600', 'ok \U0001f600'),
    ('emoji_with_joiners', '\U0001f469\u200d\U0001f467', '\U0001f469\u200d\U0001f467'),
    ('composed', 'cafe\u0301', 'caf\u00e9'),
    ('combining', 'x\u0331\u0301', 'x\u0331\u0301'),
  )
  def test_any_script(self, text: str, expected: str) -> None:
    featurizer = characters.Characters('text', 20, vocabularies.Alphabet('declared', ''.join(dict.fromkeys(text))))
    (column,) = featurizer.columns
    rows = rows_lib.ClientRows(pa.table({'text': column.kind.read(pa.array([text, ''])).values}), np.array([0, 2]))
    made = featurizer.featurize(rows)
    classes = featurizer.schema.classes
    # The row's newline is the last feature, that of the empty row the last label.
    self.assertEqual([classes[code] for code in made.features[0]][: len(expected) + 1], [*expected, '\n'])
    self.assertEqual([classes[code] for code in made.labels[0] if code >= 0], [*expected[1:], '\n', '\n'])
    self.assertSequenceEqual(made.unknown.tolist() if made.unknown is not None else [], [0])
    self.assertSequenceEqual(np.asarray(featurizer.weigh(rows.table)).tolist(), [len(expected) + 1, 1])

  @parameterized.parameters('abc', 'aç漢\U0001f600')
  def test_a_long_text(self, letters: str) -> None:
    text = ''.join(np.random.default_rng(0).choice(list(letters), 50_000))
    made = _featurize(100, [text])
    self.assertEqual(_decode(made.features.ravel()), ''.join(c if c in _CLASSES else '?' for c in text))

  def test_without_an_end_rows_go_on(self) -> None:
    featurizer = characters.Characters('text', 4, end_token=False)
    made = featurizer.featurize(_rows([['abc', '', 'de\n'], ['fg']]))
    self.assertEqual([_decode(window) for window in made.features], ['abcd', 'e___', 'f___'])
    self.assertEqual([_decode(window) for window in made.labels], ['bcde', '\n', 'g'])
    self.assertSequenceEqual(made.starts.tolist(), [0, 2, 3])
    self.assertSequenceEqual((made.first_row.tolist(), made.last_row.tolist()), ([0, 2, 3], [2, 2, 3]))
    weights = featurizer.weigh(_rows([['abc', '']]).table)
    self.assertSequenceEqual(np.asarray(weights).tolist(), [3, 0])

  @parameterized.parameters(
    (98, 'uint8', 'int8'), (125, 'uint8', 'int8'), (253, 'uint8', 'int16'), (254, 'int16', 'int16')
  )
  def test_codes_fit_their_type(self, count: int, feature: str, label: str) -> None:
    alphabet = vocabularies.Alphabet('declared', tuple(map(chr, range(0x4E00, 0x4E00 + count))))
    featurizer = characters.Characters('text', 2, alphabet)
    made = featurizer.featurize(_rows([[chr(0x4E00 + count - 1) * 3]]))
    self.assertEqual((made.features.dtype, made.labels.dtype), (feature, label))
    self.assertEqual([*made.features[0], *made.labels[0]], [count + 2] * 4)

  def test_learned_characters_are_filled_in(self) -> None:
    featurizer = characters.Characters('text', 2, vocabularies.Alphabet('dp', epsilon=1.0, delta=1e-6))
    self.assertIsNotNone(featurizer.learner)
    self.assertEmpty(featurizer.provenance)
    with self.assertRaisesRegex(ValueError, 'Expected the characters of text to be known'):
      featurizer.featurize(_rows([['to be']]))
    learned = featurizer.with_learned(['ж'])
    self.assertIsNone(learned.learner)
    self.assertEqual(learned.schema.classes, (*_CLASSES, 'ж'))

  def test_reads_what_its_column_kind_gives(self) -> None:
    featurizer = characters.Characters('said', 3)
    (column,) = featurizer.columns
    read = column.kind.read(pa.array([b'ab', b'c']))
    rows = rows_lib.ClientRows(pa.table({column.name: read.values, 'other': [1, 2]}), np.array([0, 2]))
    made = featurizer.featurize(rows)
    self.assertEqual([_decode(window) for window in made.features], ['ab\n', 'c__'])
    self.assertEqual((column.name, column.kind), ('said', columns.Text()))

  def test_schema(self) -> None:
    schema = characters.Characters('text', 7).schema
    self.assertEqual((schema.task, schema.feature.shape, schema.label.shape), ('next_character', (7,), (7,)))
    self.assertEqual((schema.feature.name, schema.label.name), ('characters', 'next_characters'))
    self.assertEqual(schema.classes, _CLASSES)

  def test_a_window_has_a_length(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected 1 <= window_length <= 65536, found 0.$'):
      characters.Characters('text', 0)

  @hypothesis.settings(deadline=None, max_examples=200)
  @hypothesis.given(clients=_CLIENTS, window=strategies.integers(1, 9), chunk_rows=strategies.integers(1, 4))
  def test_all_clients_at_once_are_each_client_read_slowly(
    self, clients: list[list[str]], window: int, chunk_rows: int
  ) -> None:
    made = characters.Characters('text', window).featurize(_rows(clients, chunk_rows))
    before = np.cumsum([0, *map(len, clients)])
    plain = [_plainly(window, texts, int(rows_before)) for texts, rows_before in zip(clients, before, strict=False)]
    self.assertSequenceEqual(made.starts.tolist(), np.cumsum([0, *map(len, plain)]).tolist())
    arrays = (made.features, made.labels, made.first_row, made.last_row, made.unknown)
    found = list(zip(*(array.tolist() for array in arrays if array is not None), strict=True))
    self.assertSequenceEqual(found, [example for examples in plain for example in examples])

  @hypothesis.settings(deadline=None, max_examples=200)
  @hypothesis.given(texts=strategies.lists(_TEXTS, min_size=1, max_size=8), window=strategies.integers(1, 9))
  def test_the_windows_put_together_are_the_text(self, texts: list[str], window: int) -> None:
    made = _featurize(window, ['before'], texts, ['after'])
    own = slice(made.starts[1], made.starts[2])
    whole = ''.join(f'{text}\n' for text in texts)
    seen = ''.join(character if character in _CLASSES else '?' for character in whole)
    features, labels = made.features[own].ravel(), made.labels[own].ravel()
    self.assertEqual(_decode(features[: len(whole) - 1]), seen[:-1])
    self.assertEqual(_decode(labels), seen[1:])
    self.assertTrue((features[len(whole) - 1 :] == 0).all())

  @hypothesis.settings(deadline=None, max_examples=200)
  @hypothesis.given(
    texts=strategies.lists(_TEXTS, max_size=8), window=strategies.integers(1, 9), examples=strategies.integers(1, 9)
  )
  def test_rows_of_the_weight_needed_give_the_same_first_examples(
    self, texts: list[str], window: int, examples: int
  ) -> None:
    featurizer = characters.Characters('text', window)
    rows = _rows([texts])
    weights = np.asarray(featurizer.weigh(rows.table))
    self.assertSequenceEqual(weights.tolist(), [len(text) + 1 for text in texts])
    enough = int(np.searchsorted(np.cumsum(weights), featurizer.weight_needed(examples))) + 1
    all_made, made = (featurizer.featurize(_rows([some])) for some in (texts, texts[:enough]))
    kept = min(examples, len(all_made.features))
    for name in ('features', 'labels', 'first_row', 'last_row'):
      np.testing.assert_array_equal(getattr(made, name)[:kept], getattr(all_made, name)[:kept])


if __name__ == '__main__':
  absltest.main()
