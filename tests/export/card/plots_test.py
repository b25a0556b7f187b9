"""Tests that the plots of the card show its figures, and users only where they may be shown."""

import dataclasses

from absl.testing import absltest
import pytest

from contracts import held_out_figures
from export.card import plots

_FIGURES = held_out_figures.Figures(
  'digest',
  200,
  [*[0.1] * 5, *[0.5] * 5],
  [held_out_figures.Class(0, 190, 5, 7, 7, 7), held_out_figures.Class(1, 10, 5, 2, 2, 2)],
  [held_out_figures.Cell(0, 0, 5, 7), held_out_figures.Cell(1, 1, 5, 2)],
  {'0': '<a>', '1': '$'},
  2,
)
_PARITY = {
  'variants': {
    'float32': {'bytes': 930_123, 'latency_us': {'median': 30.04, 'p95': 41.0}},
    'int8': {'bytes': 239_000},
  }
}


@pytest.mark.slow
class PlotsTest(absltest.TestCase):
  def test_sizes_and_latencies(self) -> None:
    drawn = plots.draw(_PARITY, None)
    for text in ('>930 kB<', '>239 kB<', '>float32<', '>int8<'):
      self.assertIn(text, drawn['sizes'][1])
    self.assertIn('>30 to 41 µs<', drawn['latencies'][1])
    self.assertNotIn('int8', drawn['latencies'][1])
    self.assertEqual((drawn['users'][1], drawn['confusion'][1]), ('', ''))

  def test_users(self) -> None:
    drawn = plots.draw(_PARITY, _FIGURES)
    self.assertIn('>held-out users<', drawn['users'][1])
    self.assertIn('Not private', drawn['users'][0])
    matrix = drawn['confusion'][1]
    self.assertIn('>&lt;a&gt;<', matrix)
    self.assertIn('>$<', matrix)
    # No square: one is of two users, and the other is omitted, for it would give away the first.
    self.assertEqual(matrix.count('fill: var(--series-1)'), 0)
    enough = [*_FIGURES.classes[:1], held_out_figures.Class(1, 10, 5, 7, 7, 7)]
    cells = [held_out_figures.Cell(0, 0, 5, 7), held_out_figures.Cell(1, 1, 5, 7)]
    shown = dataclasses.replace(_FIGURES, classes=enough, cells=cells)
    self.assertEqual(plots.draw(_PARITY, shown)['confusion'][1].count('fill: var(--series-1)'), 2)

  def test_the_same_bytes_whenever(self) -> None:
    self.assertEqual(plots.draw(_PARITY, _FIGURES), plots.draw(_PARITY, _FIGURES))

  def test_nothing_to_show(self) -> None:
    self.assertEqual({svg for _, svg in plots.draw({'variants': {}}, None).values()}, {''})


if __name__ == '__main__':
  absltest.main()
