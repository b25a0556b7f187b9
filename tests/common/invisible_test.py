"""Tests that the characters without a glyph are those of Unicode."""

import re
import sys
import unicodedata

from absl.testing import absltest

from common import invisible

_DEFAULT_IGNORABLE = '\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2065\u3164\ufe00\ufe0f\uffa0\U000e0100\U000e0fff'


class InvisibleTest(absltest.TestCase):
  def test_has_all_format_characters_and_no_other_letter(self) -> None:
    listed = {point for first, last in invisible.RANGES for point in range(first, last + 1)}
    found = {point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) == 'Cf'}
    self.assertContainsSubset(found, listed)
    self.assertContainsSubset(map(ord, _DEFAULT_IGNORABLE), listed)
    # What is not Cf: Hangul fillers and Khmer vowels are letters by category, variation selectors are marks.
    others = {unicodedata.category(chr(point)) for point in listed - found}
    self.assertEqual(others, {'Cn', 'Lo', 'Mn', 'So'} & others)
    self.assertNoCommonElements(map(ord, 'aZ0 -\u00e9\u4e2d\U0001f600'), listed)

  def test_makes_a_class_of_them(self) -> None:
    written = invisible.write_class(r'\U{:08x}')
    self.assertStartsWith(written, r'\U000000ad\U0000034f\U00000600-\U00000605')
    self.assertEqual(re.sub(f'[{written}]', '', 'a\u00adb\u200bc\ufe0f'), 'abc')


if __name__ == '__main__':
  absltest.main()
