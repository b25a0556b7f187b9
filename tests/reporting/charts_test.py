"""Tests that charts are parts of a page: themed, self-contained, and empty when there is nothing to draw."""

import math
import re
from xml.etree import ElementTree

from absl.testing import absltest
import pytest

from reporting import charts

_GAP = math.nan


def _draw(*values: list[float], name: str = 'loss', **options: object) -> str:
  series = [charts.Series(f'line {index}', line) for index, line in enumerate(values)]
  return charts.draw(name, list(range(len(values[0]))), charts.Chart(series, **options))  # type: ignore[arg-type]


def _lines(svg: str) -> list[str]:
  """The path of each drawn line, by its colour's order."""
  return re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--series-\d\)', svg)


@pytest.mark.slow
class ChartsTest(absltest.TestCase):
  def test_is_an_element_of_the_page(self) -> None:
    svg = _draw([1.0, 2.0], [2.0, 3.0], limit=('clip', 1.5))
    ElementTree.fromstring(svg)
    for foreign in ('http', '<?xml', '<!DOCTYPE', 'xlink', '<style', 'font-family', '#0'):
      self.assertNotIn(foreign, svg)
    self.assertNotIn('width=', svg.partition('>')[0])
    self.assertContainsSubset(['line 0', 'line 1', 'clip', 'round'], re.findall('>([^<>]+)</text>', svg))

  def test_takes_its_colours_from_the_page(self) -> None:
    svg = _draw([1.0, 2.0], [2.0, 3.0], [0.0, 1.0])
    for name in ('ink', 'grid', 'series-1', 'series-2', 'series-3'):
      self.assertIn(f'var(--{name})', svg)

  def test_draws_the_measured_rounds_only(self) -> None:
    few, all_of_them = _lines(_draw([1.0, _GAP, 3.0, _GAP, 2.0])), _lines(_draw([1.0, 4.0, 3.0, 5.0, 2.0]))
    self.assertEqual([few[0].count('L'), all_of_them[0].count('L')], [2, 4])

  def test_nothing_measured_draws_nothing(self) -> None:
    self.assertEqual(_draw([_GAP, _GAP], [_GAP, math.inf]), '')
    self.assertEqual(charts.draw('loss', [], charts.Chart([charts.Series('loss', [])])), '')

  def test_one_round_is_enough(self) -> None:
    self.assertIn('>line 0<', _draw([0.0], from_zero=True))

  def test_ids_differ_between_charts(self) -> None:
    ids = [set(re.findall(r'\bid="([^"]*)"', _draw([1.0, 2.0], name=name))) for name in ('loss', 'accuracy')]
    self.assertNotEmpty(ids[0])
    self.assertEmpty(ids[0] & ids[1])

  def test_references_stay_inside(self) -> None:
    svg = _draw([1.0, 2.0])
    used = set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
    self.assertNotEmpty(used)
    self.assertContainsSubset(used, re.findall(r'\bid="([^"]*)"', svg))

  def test_units(self) -> None:
    self.assertIn('>40%<', _draw([0.1, 0.4], unit='percent').replace('>40 %<', '>40%<'))
    self.assertIn('.5%<', _draw([0.41, 0.42], unit='percent'))
    self.assertRegex(_draw([0.0, 40_000.0], unit='bytes'), r'>40\skB<')

  def test_pairs_are_points_beside_the_line_of_no_change(self) -> None:
    svg = charts.draw_pairs('users', [(0.25, 0.5), (0.75, 0.7), (0.5, 0.5)], ('before', 'after'))
    ElementTree.fromstring(svg)
    self.assertContainsSubset(['no change', 'one user', 'before', 'after'], re.findall('>([^<>]+)</text>', svg))
    self.assertIn('>45%<', svg)
    points = re.findall(r'<use href="#users-[^"]*" x="([^"]*)" y="([^"]*)" style="fill: var\(--series-1\)', svg)
    self.assertLen(points, 4)  # One is the sample in the legend.
    (left, low), (right, high), (middle, _), *_ = (map(float, point) for point in points)
    self.assertAlmostEqual((left + right) / 2, middle, places=3)
    self.assertGreater(low, high)  # Downwards.
    self.assertEqual(charts.draw_pairs('users', [], ('before', 'after')), '')

  def test_a_pair_alone_is_enough(self) -> None:
    self.assertIn('>one user<', charts.draw_pairs('users', [(0.5, 0.5)], ('before', 'after')))


if __name__ == '__main__':
  absltest.main()
