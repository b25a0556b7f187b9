"""Tests the median against NumPy's."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks.aggregation import median


class MedianTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 7, 8)
  def test_is_numpys(self, clients: int) -> None:
    rows = np.random.default_rng(clients).normal(size=(clients, 6)).astype(np.float32)
    np.testing.assert_allclose(median.Median().combine(tf.constant(rows)), np.median(rows, axis=0), rtol=1e-6)

  def test_large_numbers_do_not_overflow(self) -> None:
    rows = tf.constant([[3e38, 1.0], [3e38, 2.0]])
    np.testing.assert_allclose(median.Median().combine(rows), [3e38, 1.5], rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
