from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks import algorithms
from tff_tasks import settings


class ServerOptimizerTest(parameterized.TestCase):
  def _steps(self, *arguments: Any, count: int = 3) -> list[float]:
    """Returns a weight that starts at 1 and is pushed down by an update of 1, step by step."""
    optimizer = algorithms.build_server_optimizer(*arguments)
    state, weights = optimizer.initialize((tf.TensorSpec([1]),)), (tf.ones([1]),)
    found = []
    for _ in range(count):
      state, weights = optimizer.next(state, weights, (tf.ones([1]),))
      found.append(float(weights[0][0]))
    return found

  @parameterized.parameters(*settings.SERVER_OPTIMIZERS)
  def test_goes_downhill(self, name: str) -> None:
    first, second, third = self._steps(name, 0.1)
    self.assertTrue(1.0 > first > second > third)

  def test_by_hand(self) -> None:
    np.testing.assert_allclose(self._steps('sgd', 0.1), [0.9, 0.8, 0.7], rtol=1e-5)
    # Momentum 0.9: speeds 1, 1.9, 2.71.
    np.testing.assert_allclose(self._steps('momentum', 0.1), [0.9, 0.71, 0.439], rtol=1e-5)
    # Adam's first steps are as long as the learning rate.
    np.testing.assert_allclose(self._steps('adam', 0.1), [0.9, 0.8, 0.7], atol=1e-3)

  @parameterized.parameters('adam', 'yogi', 'adagrad')
  def test_adapts_to_updates_as_small_as_clipped_ones(self, name: str) -> None:
    # An update of norm 0.3 over 20,000 weights: plain SGD at this rate would move by 2e-4 a step.
    optimizer = algorithms.build_server_optimizer(name, 0.1)
    state, weights = optimizer.initialize((tf.TensorSpec([1]),)), (tf.ones([1]),)
    for _ in range(10):
      state, weights = optimizer.next(state, weights, (tf.fill([1], 2e-3),))
    self.assertLess(float(weights[0][0]), 0.7)

  def test_linear_schedule_ends_at_zero(self) -> None:
    weights = [1.0, *self._steps('sgd', 0.1, 'linear', 4, count=5)]
    np.testing.assert_allclose(-np.diff(weights), [0.1, 0.1, 0.1, 0.05, 0.0], atol=1e-6)


if __name__ == '__main__':
  absltest.main()
