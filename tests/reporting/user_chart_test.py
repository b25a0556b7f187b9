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


# Columns of metrics.csv.
_RECONSTRUCTED = [
  f'eval_{whose}{when}_reconstruction' for whose in ('', 'worst_decile_') for when in ('before', 'after')
]
_DIVERGED = personalization.User('ab' * 16, personalization.DIVERGED, 3, 4, 0.25, math.nan, 2.5)


def _text(page: str) -> str:
  return ' '.join(html.unescape(re.sub('<style.*?</style>|<[^>]*>', ' ', page, flags=re.DOTALL)).split())


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

  def _report(self, *users: personalization.User, local_layers: tuple[str, ...] = ()) -> str:
    tuning = personalization.FineTuning(2, 0.5, 4, local_layers)
    figures = personalization.summarize(users, tuning, 'test', True)
    figures['sha256'] = personalization.write(self._run_dir, users)
    run = {'rounds': 3, personalization.FIGURES: figures}
    files.write_atomically(f'{self._run_dir}/{run_directory.FIGURES}', sealed_json.dumps(run))
    return pathlib.Path(report.write_report(self._run_dir)).read_text()

  def test_before_and_after(self) -> None:
    page = self._report(*map(_user, range(30)), _DIVERGED)
    text = _text(page)
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

  def test_local_layers(self) -> None:
    columns = dict.fromkeys(('accuracy', *_RECONSTRUCTED), '0.25')
    lines = [','.join(['round', *columns]), *(','.join([number, *columns.values()]) for number in '123')]
    run_directory.make(self._run_dir)
    files.write_atomically(f'{self._run_dir}/{run_directory.METRICS}', '\n'.join(lines) + '\n')
    page = self._report(*map(_user, range(30)), local_layers=('dense', 'logits'))
    text = _text(page)
    for said in (
      'Accuracy on held-out users after reconstruction 50.0 % mean over users, on one half of the examples, local '
      'layers (dense, logits) reconstructed on the other; 25.0 % before',
      'Reconstruction for single users Reconstruction of the local layers dense, logits (2 epochs',
      'Above the line, reconstruction helped.',
      'held-out, reconstructed',
      'held-out, before',
      'Accuracy of the lowest tenth The tenth with the lowest accuracy of the users who took no part',
    ):
      self.assertIn(said, text)
    self.assertNotIn('ine-tuning', text)

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
