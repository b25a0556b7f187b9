"""Tests that charts of amounts show the amounts."""

import re

from absl.testing import absltest
import pytest

from reporting import bar_charts


@pytest.mark.slow
class BarChartsTest(absltest.TestCase):
  def test_bars(self) -> None:
    svg = bar_charts.draw_bars('b', [bar_charts.Bar('one', 10, '10 kB'), bar_charts.Bar('two', 5, '5 kB')], 'kB')
    for text in ('>one<', '>two<', '>10 kB<', '>5 kB<', '>kB<'):
      self.assertIn(text, svg)
    self.assertEqual(svg.count('fill: var(--series-1)'), 2)

  def test_no_amount_at_all(self) -> None:
    self.assertIn('>0 kB<', bar_charts.draw_bars('b', [bar_charts.Bar('one', 0, '0 kB')], 'kB'))

  def test_spans(self) -> None:
    spans = [bar_charts.Span('one', 3.0, 9.0, '3 to 9'), bar_charts.Span('two', 1000.0, 2000.0, '1,000 to 2,000')]
    svg = bar_charts.draw_spans('s', spans, 'µs')
    for text in ('>one<', '>3 to 9<', '>1,000 to 2,000<', '>µs<', '>1,000<', '>10<'):
      self.assertIn(text, svg)

  def test_histogram(self) -> None:
    svg = bar_charts.draw_histogram('h', [(0.1, 0.2, 3), (0.2, 0.3, 8)], 'users')
    self.assertIn('>users<', svg)
    self.assertIn('>accuracy<', svg)
    self.assertEqual(svg.count('fill: var(--series-1)'), 2)

  def test_matrix(self) -> None:
    svg = bar_charts.draw_matrix('m', [[0.91, 0.11], [float('nan'), 0.0]], ['$x$', '<b>'])
    # What is right has another colour than what is wrong.
    self.assertEqual([svg.count(f'fill: var(--series-{series})') for series in (1, 2)], [1, 1])
    self.assertIn('>$x$<', svg)
    self.assertIn('>&lt;b&gt;<', svg)
    shades = [float(each) for each in re.findall(r'(?<!-)opacity: ([0-9.]+)', svg)]
    self.assertEqual([round(each, 3) for each in shades], [0.912, 0.208])

  def test_many_classes_have_few_labels(self) -> None:
    svg = bar_charts.draw_matrix('m', [[0.5] * 62] * 62, [f'c{index}' for index in range(62)])
    labels = re.findall('>(c[0-9]+)<', svg)
    self.assertLen(labels, 42)
    self.assertIn('c60', labels)

  def test_nothing(self) -> None:
    self.assertEqual((bar_charts.draw_bars('b', [], ''), bar_charts.draw_histogram('h', [], '')), ('', ''))
    self.assertEqual(bar_charts.draw_spans('s', [], ''), '')


if __name__ == '__main__':
  absltest.main()
