"""Tests the distance between weights."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from export.on_device import weights


class WeightsTest(parameterized.TestCase):
  def test_is_the_largest_of_all_arrays(self) -> None:
    one = [np.zeros((2, 3)), np.array([1.0, -2.0]), np.zeros(0)]
    self.assertEqual(weights.difference(one, [np.full((2, 3), -0.5), np.array([1.0, -1.0]), np.zeros(0)]), 1.0)
    self.assertEqual(weights.difference(one, one), 0.0)
    self.assertEqual(weights.difference([], []), 0.0)

  @parameterized.parameters(0, 1, 2)
  def test_a_number_that_is_not_finite_shows_wherever_it_is(self, index: int) -> None:
    for value in (np.nan, np.inf):
      one, other = [np.zeros(3) for _ in range(3)], [np.ones(3) for _ in range(3)]
      one[index][1] = other[index][1] = value
      with np.errstate(invalid='ignore'):
        self.assertTrue(np.isnan(weights.difference(one, other)), (value, index))


if __name__ == '__main__':
  absltest.main()
