"""Tests the trimmed mean against NumPy's mean of what is left."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks.aggregation import trimmed_mean


class TrimmedMeanTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.0, 5, 0),
    (0.1, 5, 1),  # At least one, or nothing would be withstood.
    (0.1, 10, 1),
    (0.1, 11, 2),
    (0.2, 10, 2),
    (0.07, 100, 7),  # 0.07 * 100 is a little more than 7.
    (0.3, 8, 3),
    (0.4, 3, 1),  # Two at each end would leave nobody.
    (0.4, 2, 0),
    (0.4, 1, 0),
  )
  def test_is_numpys_mean_without_the_ends(self, share: float, clients: int, trimmed: int) -> None:
    rows = np.random.default_rng(clients).normal(size=(clients, 6)).astype(np.float32)
    expected = np.sort(rows, axis=0)[trimmed : clients - trimmed].mean(axis=0)
    found = trimmed_mean.TrimmedMean(share).combine(tf.constant(rows))
    np.testing.assert_allclose(found, expected, atol=1e-6)

  @parameterized.parameters(-0.1, 0.5)
  def test_refuses_a_share_out_of_range(self, share: float) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected share of at least 0 and below 0.5, found .*: give .*share=0.2'):
      trimmed_mean.TrimmedMean(share)
    trimmed_mean.TrimmedMean(0.2)


if __name__ == '__main__':
  absltest.main()
