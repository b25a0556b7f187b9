"""Tests of making examples from rows, by hand and against a slow and plain version."""

from collections.abc import Sequence
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines import featurizers
from pipelines import schema as schema_lib

_TEXTS = strategies.text(strategies.characters(codec='utf-8'), max_size=12)


def _table(schema: pa.Schema, *columns: Sequence[Any]) -> pa.Table:
  arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
  return pa.table(arrays, schema=schema)


def _text_rows(*texts: str) -> pa.Table:
  return _table(featurizers.NextCharacter.row_schema, ['me'] * len(texts), range(len(texts)), texts)


def _decode(codes: np.ndarray) -> str:
  names = {'<pad>': '_', '<unknown>': '?'}
  kept = [featurizers.ALPHABET[code] for code in codes if code != schema_lib.IGNORED_LABEL]
  return ''.join(names.get(character, character) for character in kept)


class NextCharacterTest(parameterized.TestCase):

  def test_the_alphabet_is_what_the_exported_models_were_promised(self) -> None:
    self.assertLen(featurizers.ALPHABET, 98)
    self.assertEqual(featurizers.ALPHABET[:5], ('<pad>', '<unknown>', '\n', ' ', '!'))
    self.assertEqual(featurizers.ALPHABET[-1], '~')

  def test_windows_by_hand(self) -> None:
    made = featurizers.NextCharacter(4).featurize(_text_rows('abc', 'de'), 10)
    self.assertEqual([_decode(window) for window in made.features], ['abc\n', 'de__'])
    self.assertEqual([_decode(window) for window in made.labels], ['bc\nd', 'e\n'])
    self.assertSequenceEqual(made.labels[1].tolist()[2:], [schema_lib.IGNORED_LABEL] * 2)
    self.assertSequenceEqual(made.rows_reached.tolist(), [2, 2])
    self.assertEqual((made.features.dtype, made.labels.dtype), (np.uint8, np.int8))

  @parameterized.named_parameters(
      ('outside_ascii', 'aéb😀', 'a?b?\n', 2),
      ('control_characters', '\t\x00\x7f', '???\n', 3),
      ('none', 'ab', 'ab\n', 0),
  )
  def test_a_character_outside_the_alphabet_is_unknown_and_counted(self, text: str, seen: str, count: int) -> None:
    made = featurizers.NextCharacter(5).featurize(_text_rows(text), 10)
    self.assertEqual(_decode(made.features[0])[:1] + _decode(made.labels[0]), seen)
    self.assertEqual(made.notes, {'characters_unknown': count})

  @parameterized.parameters(
      (1, [2]),  # Characters 0 to 3, with 4, the first of the second row, as the last label.
      (2, [2, 3]),
      (9, [2, 3, 3]),
  )
  def test_the_cap_keeps_the_first_windows_and_says_which_rows_they_reach(self, cap: int, reached: list[int]) -> None:
    made = featurizers.NextCharacter(4).featurize(_text_rows('abc', 'de', 'fgh'), cap)
    self.assertSequenceEqual(made.rows_reached.tolist(), reached)
    self.assertLen(made.features, len(reached))

  def test_what_the_cap_removes_is_not_counted_as_unknown(self) -> None:
    made = featurizers.NextCharacter(2).featurize(_text_rows('ab', 'éé'), 1)
    self.assertEqual(made.notes, {'characters_unknown': 0})

  def test_one_character_is_no_example(self) -> None:
    made = featurizers.NextCharacter(4).featurize(_text_rows(''), 10)
    self.assertEqual((made.features.shape, made.labels.shape, made.rows_reached.shape), ((0, 4), (0, 4), (0,)))

  @hypothesis.settings(deadline=None, max_examples=200)
  @hypothesis.given(
      texts=strategies.lists(_TEXTS, min_size=1, max_size=8),
      window=strategies.integers(1, 9),
      cap=strategies.integers(1, 12),
  )
  def test_windows_hold_the_text_and_its_shift(self, texts: list[str], window: int, cap: int) -> None:
    made = featurizers.NextCharacter(window).featurize(_text_rows(*texts), cap)
    places = {character: place for place, character in enumerate(featurizers.ALPHABET)}
    plain = [places.get(character, 1) for text in texts for character in text + '\n'][:cap * window + 1]
    count = len(plain) - 1
    self.assertLen(made.features, -(-count // window))
    self.assertSequenceEqual(made.features.ravel().tolist()[:count], plain[:-1])
    self.assertSequenceEqual(made.labels.ravel().tolist()[:count], plain[1:])
    self.assertTrue((made.features.ravel()[count:] == 0).all())
    self.assertTrue((made.labels.ravel()[count:] == schema_lib.IGNORED_LABEL).all())
    if count:
      lengths = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
      self.assertEqual(made.rows_reached[-1], sum(start < len(plain) for start in lengths))


class HandwritingTest(absltest.TestCase):

  def test_one_row_is_one_example(self) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    content = [image.tobytes() for image in images]
    rows = _table(featurizers.Handwriting.row_schema, ['me'] * 3, range(3), content, [0, 10, 61])
    made = featurizers.Handwriting().featurize(rows, 2)
    np.testing.assert_array_equal(made.features, images[:2], strict=True)
    self.assertSequenceEqual(made.labels.tolist(), [0, 10])
    self.assertSequenceEqual(made.rows_reached.tolist(), [1, 2])
    classes = featurizers.Handwriting.schema.classes
    self.assertEqual(''.join(classes[place] for place in (0, 9, 10, 35, 36, 61)), '09AZaz')


if __name__ == '__main__':
  absltest.main()
