"""Tests of what the report says of single users before and after fine-tuning."""

import html
import math
import pathlib
import re

from absl.testing import absltest
import pytest

from common import files
from common import sealed_json
from contracts import personalization
from contracts import run_directory
from reporting import report
from reporting import user_chart


def _user(number: int) -> personalization.User:
  after = 0.5 + number / 1e5
  return personalization.User(f'{number:032x}', personalization.MEASURED, 3, 4, 0.25, after, 2.5, 1.5)


_DIVERGED = personalization.User('ab' * 16, personalization.DIVERGED, 3, 4, 0.25, math.nan, 2.5)


@pytest.mark.slow
class DrawTest(absltest.TestCase):
  def test_a_point_for_each_measured_user(self) -> None:
    chart = user_chart.draw([*map(_user, range(30)), _DIVERGED])
    self.assertEqual(chart.svg.count('<use '), 31)  # One is the sample in the legend.
    self.assertEqual(chart.text, 'Above the line, fine-tuning helped.')

  def test_many_users_are_a_sample(self) -> None:
    chart = user_chart.draw([*map(_user, range(2_500))])
    self.assertEndsWith(chart.text, 'A random 834 of 2,500 users are shown.')
    self.assertEqual(chart.svg.count('<use '), 835)

  def test_nobody_measured_draws_nothing(self) -> None:
    self.assertEqual(user_chart.draw([_DIVERGED]).svg, '')


@pytest.mark.slow
class ReportTest(absltest.TestCase):
  """Of the page that the chart is a part of."""

  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.create_tempdir().full_path

  def _report(self, *users: personalization.User) -> str:
    figures = personalization.summarize(users, personalization.FineTuning(2, 0.5, 4), 'test', True)
    figures['sha256'] = personalization.write(self._run_dir, users)
    run = {'rounds': 3, personalization.FIGURES: figures}
    files.write_atomically(f'{self._run_dir}/{run_directory.FIGURES}', sealed_json.dumps(run))
    return pathlib.Path(report.write_report(self._run_dir)).read_text()

  def test_before_and_after(self) -> None:
    page = self._report(*map(_user, range(30)), _DIVERGED)
    text = ' '.join(html.unescape(re.sub('<style.*?</style>|<[^>]*>', ' ', page, flags=re.DOTALL)).split())
    for said in (
      'Fine-tuning for single users Fine-tuning (2 epochs, learning rate 0.5) on the first half',
      'accuracy, mean over users 25.0 % 50.0 %',
      'accuracy of the lowest tenth 25.0 % 50.0 %',
      'loss in nats, mean over users 2.5 1.5',
      f'1 diverged and are in no mean (client {"ab" * 16})',
      'No guarantee covers them: keep them with the operator.',
      'User by user Above the line, fine-tuning helped.',
    ):
      self.assertIn(said, text)
    self.assertEqual(page.count('<svg'), 1)

  def test_nobody_was_measured(self) -> None:
    page = self._report(_DIVERGED)
    self.assertNotIn('<svg', page)
    self.assertIn('nobody could be measured', page)
    self.assertNotIn('None', page)

  def test_without_fine_tuning_there_is_no_word_of_it(self) -> None:
    run_directory.make(self._run_dir)
    self.assertNotIn('Fine-tuning', pathlib.Path(report.write_report(self._run_dir)).read_text())

  def test_refuses_rows_that_the_figures_were_not_made_of(self) -> None:
    self._report(_user(1))
    pathlib.Path(self._run_dir, run_directory.PERSONALIZATION).write_text('client_id\n')
    with self.assertRaisesRegex(ValueError, 'personalization.csv, found others: repeat the training command'):
      report.write_report(self._run_dir)


if __name__ == '__main__':
  absltest.main()
