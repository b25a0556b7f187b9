"""Tests of the charts: what they say, that they suit their page, and that they come out the same each time."""

import base64
from collections.abc import Callable
import re
from xml.etree import ElementTree

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from pipelines.inspection import drawing

_PREFIX = 'data:image/svg+xml;base64,'


def _svg(address: str) -> str:
  return base64.b64decode(address.removeprefix(_PREFIX), validate=True).decode()


def _texts(address: str) -> list[str]:
  root = ElementTree.fromstring(_svg(address))
  return [''.join(node.itertext()).strip() for node in root.iter('{http://www.w3.org/2000/svg}text')]


def _draw_sizes() -> drawing.Drawing:
  return drawing.draw_sizes((1, 2, 5, 10), (3, 0, 4_000), 'examples', 'users')


def _draw_shares() -> drawing.Drawing:
  return drawing.draw_shares((0, 0.5, 1), (2, 5), 'share', 'users')


def _draw_reasons() -> drawing.Drawing:
  return drawing.draw_reasons({'no_text': 12_345, 'not_json': 1})


_CHARTS = ((_draw_sizes,), (_draw_shares,), (_draw_reasons,))


@pytest.mark.slow
class DrawingTest(parameterized.TestCase):
  @parameterized.parameters(*_CHARTS)
  def test_light_and_dark_are_images_that_say_the_same(self, draw: Callable[[], drawing.Drawing]) -> None:
    drawn = draw()
    self.assertStartsWith(drawn.light, _PREFIX)
    self.assertNotEmpty(_texts(drawn.light))
    self.assertEqual(_texts(drawn.light), _texts(drawn.dark))
    self.assertNotEqual(drawn.light, drawn.dark)

  @parameterized.parameters(*_CHARTS)
  def test_the_same_figures_give_the_same_image(self, draw: Callable[[], drawing.Drawing]) -> None:
    self.assertEqual(draw(), draw())

  @parameterized.parameters(*_CHARTS)
  def test_an_image_needs_nothing_from_elsewhere(self, draw: Callable[[], drawing.Drawing]) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', _svg(draw().light))
    self.assertEmpty([address for address in map(''.join, addresses) if not address.startswith('#')])

  def test_counts_that_lie_far_apart_are_log_scaled(self) -> None:
    self.assertContainsSubset(['examples', 'users', '1,000'], _texts(_draw_sizes().light))
    near = _texts(drawing.draw_sizes((1, 2, 5), (300, 299), 'examples', 'users').light)
    self.assertContainsSubset(['0', '100', '200', '300'], near)

  def test_reasons_stand_with_their_numbers(self) -> None:
    self.assertEqual(_texts(_draw_reasons().light), ['no text', 'not json', '12,345', '1'])

  def test_more_reasons_make_a_higher_chart(self) -> None:
    few, many = (_svg(drawing.draw_reasons(dict.fromkeys(names, 1)).light) for names in ('ab', 'abcdefgh'))
    heights = [float(ElementTree.fromstring(svg).attrib['viewBox'].split()[3]) for svg in (few, many)]
    self.assertGreater(heights[1], 2 * heights[0])

  def test_bars_of_text(self) -> None:
    self.assertEqual(
      drawing.list_bars(['1', '2–4', '5–9'], [0, 1, 4_000]),
      ['  1      0', '2–4      1 #', f'5–9  4,000 {"#" * 40}'],
    )

  def test_no_bars_of_text(self) -> None:
    self.assertEqual(drawing.list_bars([], []), [])
    self.assertEqual(drawing.list_bars(['1'], [0]), ['1  0'])


if __name__ == '__main__':
  absltest.main()
