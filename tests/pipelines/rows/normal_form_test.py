"""Tests of the normal form: what it makes equal, what it leaves apart, and that it is one form."""

import sys
import unicodedata

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import pyarrow as pa

from pipelines.rows import normal_form

_PIECES = strategies.sampled_from(
  ['a', 'A', '\u0301', 'e', '\u200b', '\ufeff', ' ', '\t', '\0', '\u3000', '\uff11', *'10.-+eE']
)


def _normalize(*texts: str) -> list[str]:
  return normal_form.normalize(pa.array(texts, pa.string())).to_pylist()


class NormalFormTest(parameterized.TestCase):
  @parameterized.parameters(
    ('ann', ' ann', 'ann\t', 'ann\u00a0', '\u3000ann', 'ann\r', 'ann\0\0', '\ufeffann', 'an\u200bn', 'a\u00adnn'),
    ('jos\u00e9', 'jose\u0301', 'jose\u200b\u0301'),
    ('fi17', '\ufb0117', '\uff46\uff49\uff11\uff17'),
    ('\u2764', '\u2764\ufe0f'),
    ('17', '17.0', '17.', '17.00', '1.7E1', '1.7e+01', ' 17.0 ', '\uff11\uff17.0'),
    ('-17', '-17.0', '-1.7E1'),
    ('100000', '1e+05', '1.0E5'),
    ('0', '-0.0', '0.0'),
    ('12345678901234567890', '12345678901234567890.0'),
    ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'),
  )
  def test_makes_one_of(self, expected: str, *spellings: str) -> None:
    self.assertEqual(_normalize(expected, *spellings), [expected] * (1 + len(spellings)))
    # Alone, too: what the others need is not done for it then.
    self.assertEqual([_normalize(spelling) for spelling in spellings], [[expected]] * len(spellings))

  @parameterized.parameters(
    '017',
    '017.5',
    '17.5',
    '+17',
    '12e4',
    '1e5',
    '1.75E0',
    '1.0E300',
    '9.1E15',
    'Ann',
    'a b',
    '1.0.0',
    '10.0.0.1',
    '.0',
    'A0EEBC99',
    '1.0Ex',
  )
  def test_leaves(self, text: str) -> None:
    self.assertEqual(_normalize(text), [text])

  def test_a_leading_zero_counts(self) -> None:
    self.assertEqual(_normalize('017.0', '17.0'), ['017', '17'])

  def test_nulls_stay(self) -> None:
    self.assertEqual(normal_form.normalize(pa.array([None, ' '])).to_pylist(), [None, ''])

  def test_no_format_character_of_unicode_is_left_and_twice_is_once(self) -> None:
    codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    characters = [chr(code) for code in codes if not code % 19 or unicodedata.category(chr(code)) == 'Cf']
    once = _normalize(*characters)
    self.assertEqual(_normalize(*once), once)
    self.assertEmpty([text for text in once if 'Cf' in map(unicodedata.category, text)])

  @hypothesis.settings(deadline=None)
  @hypothesis.given(strategies.lists(strategies.lists(_PIECES).map(''.join) | strategies.text(), max_size=6))
  def test_twice_is_once_whatever_the_neighbors(self, texts: list[str]) -> None:
    together = _normalize(*texts)
    self.assertEqual(together, [_normalize(text)[0] for text in texts])
    self.assertEqual(_normalize(*together), together)


if __name__ == '__main__':
  absltest.main()
