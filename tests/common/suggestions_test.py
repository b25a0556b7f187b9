"""Tests of what a message suggests for a wrong name."""

from absl.testing import absltest

from common import suggestions


class SuggestionsTest(absltest.TestCase):
  def test_a_near_name_is_meant(self) -> None:
    self.assertEqual(suggestions.suggest('shrae', ['epochs', 'share']), 'did you mean share?')

  def test_without_one_the_names_are_listed_or_something_else_is_said(self) -> None:
    self.assertEqual(suggestions.suggest('x', ['epochs', 'share']), 'choose among epochs, share.')
    self.assertEqual(suggestions.suggest('x', ['epochs', 'share'], 'leave it out.'), 'leave it out.')


if __name__ == '__main__':
  absltest.main()
