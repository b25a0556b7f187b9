"""Tests of showing text that would steer a terminal."""

from absl.testing import absltest
from absl.testing import parameterized

from common import printable


class ShowTest(parameterized.TestCase):
  @parameterized.parameters(
    ('\x1b[2J\x1b]0;title\x07', '\\x1b[2J\\x1b]0;title\\x07'),
    ('\x9b31m', '\\x9b31m'),
    ('over\rwritten\x08\x7f', 'over\\rwritten\\x08\\x7f'),
    ('turned \u202eround\u2066', 'turned \\u202eround\\u2066'),
    ('half \ud83d', 'half \\ud83d'),
  )
  def test_what_steers_a_terminal_is_shown(self, text: str, shown: str) -> None:
    self.assertEqual(printable.show(text), shown)

  @parameterized.parameters(
    'one\n\ttwo', 'Ελληνικά, кириллица, 中文', 'e\u0301 \u00a0 \u202f \u3000', '👩\u200d👧 نمی\u200cدانم'
  )
  def test_text_stays(self, text: str) -> None:
    self.assertEqual(printable.show(text), text)

  @parameterized.parameters(('a\x1b[2J', r'a\x1b[2J'), ('a\nb', r'a\nb'), ('a\t', r'a\t'), ('\udcff', r'\udcff'))
  def test_a_flag_has_one_printable_line(self, text: str, shown: str) -> None:
    self.assertEqual(printable.require('name', 'Ada, é \\n'), 'Ada, é \\n')
    with self.assertRaises(ValueError) as raised:
      printable.require('name', text)
    self.assertStartsWith(str(raised.exception), f'Expected printable text in UTF-8 for --name, found {shown}: leave')

  def test_one_period_at_the_end(self) -> None:
    self.assertEqual([printable.close(each) for each in ('a', 'a.', 'a…')], ['a.', 'a.', 'a…'])


if __name__ == '__main__':
  absltest.main()
