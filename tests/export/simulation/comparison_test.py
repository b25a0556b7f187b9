"""Tests which differences between models are those of rounding."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from export.simulation import comparison

_INITIAL = [np.zeros((2, 2), np.float32), np.zeros(1, np.float32)]
_RELEASED = [np.full((2, 2), 2, np.float32), np.full(1, 3, np.float32)]  # 5 away.


class ComparisonTest(parameterized.TestCase):
  def _compare(self, by: float, is_rounded: bool = False) -> comparison.Comparison:
    return comparison.compare([_RELEASED[0], _RELEASED[1] + by], _RELEASED, _INITIAL, is_rounded)

  def test_figures(self) -> None:
    found = self._compare(0.5)
    self.assertEqual((found.largest, found.moved), (0.5, 3.0))
    self.assertAlmostEqual(found.share, 0.1)

  @parameterized.parameters(
    (0.0, False, True),
    (0.0004, False, True),
    (0.0006, False, False),
    (np.nan, False, False),
    (0.4, True, True),
    (0.6, True, False),
    (np.inf, True, False),
    (np.nan, True, False),
  )
  def test_what_is_close(self, by: float, is_rounded: bool, expected: bool) -> None:
    self.assertEqual(self._compare(by, is_rounded).is_close, expected)

  def test_convolutions_may_be_farther_away(self) -> None:
    initial, released = [np.zeros((1, 1, 5))], [np.ones((1, 1, 5))]
    self.assertTrue(comparison.compare([released[0] + 0.05], released, initial, False).is_close)
    self.assertFalse(comparison.compare([released[0] + 0.15], released, initial, False).is_close)

  def test_a_model_that_did_not_move(self) -> None:
    self.assertTrue(comparison.compare(_INITIAL, _INITIAL, _INITIAL, False).is_close)
    self.assertFalse(comparison.compare(_RELEASED, _INITIAL, _INITIAL, False).is_close)


if __name__ == '__main__':
  absltest.main()
