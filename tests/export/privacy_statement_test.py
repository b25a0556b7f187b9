"""Tests of the sentence that card and files share."""

from absl.testing import absltest
from absl.testing import parameterized

from export import privacy_statement
from tests.export import fakes


class PrivacyStatementTest(parameterized.TestCase):
  def test_a_promise(self) -> None:
    promise, terms = privacy_statement.describe({**fakes.privacy(), 'epsilon': 7.0001})
    self.assertEqual(promise, '(7.01, 0.0001)-differential privacy')
    self.assertStartsWith(terms, ', unit: client, adjacency: one client')
    self.assertEndsWith(
      terms, 'Covers the models of all 140 rounds, for each training user with all of their examples.'
    )

  def test_none(self) -> None:
    found = str(privacy_statement.describe(fakes.privacy(private=False)))
    self.assertEqual(found, 'No privacy guarantee: this run adds no noise.')
    older = {key: value for key, value in fakes.privacy(private=False).items() if key != 'no_promise'}
    self.assertEqual(str(privacy_statement.describe(older)), 'No privacy guarantee: nothing: this run adds no noise.')
    self.assertEqual(str(privacy_statement.describe({})), 'No privacy guarantee: the run has no record of its privacy.')

  @parameterized.parameters((0.01, '1.02'), (1.0, '2.72'), (7.62, '2,039'), (100.0, '2.7e+43'))
  def test_in_plain_words(self, epsilon: float, factor: str) -> None:
    said = privacy_statement.explain({**fakes.privacy(), 'epsilon': epsilon})
    self.assertIn(
      f'is at most {factor} times as likely as without the data of that client, apart from a chance of', said
    )

  def test_in_plain_words_without_a_promise(self) -> None:
    for ledger in ({}, fakes.privacy(private=False)):
      self.assertIn('there is no limit to what', privacy_statement.explain(ledger))


if __name__ == '__main__':
  absltest.main()
