"""Tests of cutting text into words, by hand and against Python's own idea of characters."""

import itertools
import unicodedata

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import pyarrow as pa

from pipelines.rows import tokens

# Letters and marks that Python's and Arrow's tables of Unicode agree about.
_TEXTS = strategies.lists(strategies.text("abZé'’ \t\n\u00a0.,-—“😀1٣\u0301", max_size=15), max_size=5)


def _split(texts: list[str]) -> list[list[str]]:
  words, starts = tokens.split(pa.chunked_array([pa.array(texts, pa.string())]))
  return [words[start:stop].to_pylist() for start, stop in itertools.pairwise(starts)]


def _plainly(text: str) -> list[str]:
  words = ['']
  for character in text.lower():
    if unicodedata.category(character)[0] in 'LMN' or character in "'’":
      words[-1] += character
    else:
      words += ['' if character.isspace() else character, '']
  return [word for word in words if word]


class CharactersTest(parameterized.TestCase):
  @parameterized.parameters([[]], [['']], [['ab', '', 'c\n']], [['aж', '', '\U0001f600好']], [['', 'e\u0301']])
  def test_code_points(self, texts: list[str]) -> None:
    for kind, sliced in itertools.product((pa.string(), pa.large_string()), (False, True)):
      array = pa.array(['zж', *texts], kind)[1:] if sliced else pa.array(texts, kind)
      points, starts = tokens.characters(array)
      self.assertEqual(points.tolist(), [ord(character) for text in texts for character in text])
      self.assertEqual(starts.tolist(), [0, *itertools.accumulate(map(len, texts))])


class SplitTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('lower_case', 'The KING', ['the', 'king']),
    ('apostrophes', "'tis, don’t!", ["'tis", ',', 'don’t', '!']),
    ('marks_stand_alone', 'well-known...', ['well', '-', 'known', '.', '.', '.']),
    ('other_scripts', 'été Привет ٣٤ 日本', ['été', 'привет', '٣٤', '日本']),
    ('combined_characters', 'e\u0301a', ['e\u0301a']),
    ('emoji', 'ok😀😀', ['ok', '😀', '😀']),
    ('white_space', ' a\t\nb\u00a0c  ', ['a', 'b', 'c']),
    ('nothing', '', []),
    ('only_white_space', ' \n ', []),
  )
  def test_by_hand(self, text: str, expected: list[str]) -> None:
    self.assertEqual(_split([text]), [expected])

  @hypothesis.settings(max_examples=100, deadline=None)
  @hypothesis.given(_TEXTS)
  def test_as_a_plain_loop_does(self, texts: list[str]) -> None:
    self.assertEqual(_split(texts), [_plainly(text) for text in texts])

  def test_white_space_at_the_end_of_all_texts(self) -> None:
    # Without the trim, Arrow keeps it about every second time: it looks at what lies behind its buffer.
    texts = ["\t\n1b'-.’é'—😀é\n-", "\xa0’é\n٣\n\xa0  '", '\t-😀']
    found = [_split(texts)[-1] for _ in range(500)]
    self.assertEqual(found, [['-', '😀']] * 500)

  def test_texts_of_a_slice(self) -> None:
    words, starts = tokens.split(pa.array(['a b', 'c', 'd, e'])[1:])
    self.assertEqual((words.to_pylist(), starts.tolist()), (['c', 'd', ',', 'e'], [0, 1, 4]))


if __name__ == '__main__':
  absltest.main()
