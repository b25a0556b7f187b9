"""Tests of learning rates by round."""

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tff_tasks.algorithms import schedules


class SchedulesTest(absltest.TestCase):
  def test_linear_is_constant_first_and_zero_after_the_last_round(self) -> None:
    found = [float(schedules.linear(tf.constant(index), 4)) for index in range(5)]
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0], atol=1e-6)

  def test_learning_rates(self) -> None:
    self.assertEqual(schedules.learning_rate(0.3, 'constant', 3, 4), 0.3)
    found = [float(schedules.learning_rate(0.3, 'linear', index, 4)) for index in range(4)]
    np.testing.assert_allclose(found, [0.3, 0.3, 0.3, 0.15], rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
