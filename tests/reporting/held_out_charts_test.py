"""Tests of which charts of held-out users there are, and of what the report says of them."""

import pathlib
import tempfile

from absl.testing import absltest
import pytest

from contracts import held_out_figures
from contracts import released_model
from reporting import held_out_charts
from reporting import report
from tests.export import exported
from tests.export import fakes


@pytest.mark.slow
class HeldOutChartsTest(absltest.TestCase):
  def test_without_a_matrix(self) -> None:
    figures = held_out_figures.Figures('', 100, [0.5] * 5, [], [], {})
    drawn = held_out_charts.draw(figures)
    self.assertIn('>accuracy<', drawn['users'])
    self.assertEqual(drawn['confusion'], '')

  def test_of_few_users_nothing(self) -> None:
    figures = held_out_figures.Figures('', 100, [0.5] * 4, [], [], {'0': 'a'}, 1)
    self.assertEqual(held_out_charts.draw(figures, 5)['users'], '')
    self.assertIn('>a<', held_out_charts.draw(figures, 5)['confusion'])

  def test_nothing_measured(self) -> None:
    self.assertEqual(held_out_charts.draw(None), {'users': '', 'confusion': ''})

  def test_the_report_says_what_was_measured(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    classes, cell = [held_out_figures.Class(0, 9, 3, 2, 1, 1)], held_out_figures.Cell(0, 1, 3, 1)
    model = exported.release(run_dir)
    self.assertNotIn('Held-out users and answers', pathlib.Path(report.write_report(run_dir)).read_text())
    figures = held_out_figures.Figures(model.digest, 90, [0.2, 0.4], classes, [cell], {'0': '<', '1': 'b'})
    held_out_figures.write(run_dir, figures)
    text = pathlib.Path(report.write_report(run_dir)).read_text()
    self.assertIn('Over 2 held-out users, on about 45 answers each, accuracy is 30.0% as a mean', text)
    self.assertRegex(text, '<code>&lt;</code></td><td><code>b</code></td><td class="n">33.3.%</td>')
    self.assertIn('No guarantee covers these figures', text)
    self.assertNotIn('before the local layers', text)
    ledger = {**fakes.privacy(), 'local_layers': 'logits'}
    released_model.save(model, ledger, run_dir)
    self.assertIn('before the local layers are reconstructed', pathlib.Path(report.write_report(run_dir)).read_text())
    # Of a model that came later.
    exported.release(run_dir, 141)
    self.assertNotIn('Held-out users and answers', pathlib.Path(report.write_report(run_dir)).read_text())


if __name__ == '__main__':
  absltest.main()
