"""Tests of what the server does with the mean of the updates, by hand."""

import contextlib
from typing import Any

from absl.testing import absltest
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.algorithms import base
from tff_tasks.algorithms import finalizers
from tff_tasks.algorithms import learning_process
from tff_tasks.runtime import tff as tff_runtime

_WEIGHTS_TYPE = tff.to_type(tff.learning.models.ModelWeights((tff.TensorType(np.float32, (2,)),), ()))


def _context(optimizer: str) -> base.Context:
  server_optimizer = learning_process.build_server_optimizer(optimizer, 0.1)
  model: Any = None  # Not asked for anything.
  return base.Context(model, _WEIGHTS_TYPE, fakes.SCHEMA, algorithm_rounds.TRAINING, server_optimizer, 8, 3)


def _finalize(finalizer: tff.learning.templates.FinalizerProcess, *updates: Any) -> list[list[float]]:
  """Returns the weights, which begin at 1, after each of some mean updates."""
  process: Any = None  # Of which no round is run.
  with contextlib.closing(tff_runtime.TffRuntime(process)):
    state = finalizer.initialize()
    weights = tff.learning.models.ModelWeights((np.ones(2, np.float32),), ())
    found = []
    for update in updates:
      output = finalizer.next(state, weights, update)
      state, weights = output.state, output.result
      found.append(np.asarray(weights.trainable[0]).tolist())
  return found


class FinalizersTest(absltest.TestCase):
  def test_the_mean_update_is_the_gradient(self) -> None:
    update = (np.array([1, 2], np.float32),)
    found = _finalize(finalizers.build_finalizer(_context('sgd')), update, update)
    np.testing.assert_allclose(found, [[0.9, 0.8], [0.8, 0.6]], rtol=1e-6)

  def test_does_what_that_of_tff_does_also_with_an_update_that_is_not_finite(self) -> None:
    context = _context('adam')
    updates = [(np.array(update, np.float32),) for update in ([1, 2], [np.nan, 3], [np.inf, 3], [4, 5])]
    ours = _finalize(finalizers.build_finalizer(context), *updates)
    theirs = tff.learning.templates.build_apply_optimizer_finalizer(context.server_optimizer, context.weights_type)
    self.assertEqual(ours, _finalize(theirs, *updates))
    self.assertEqual(ours[0], ours[2], 'What is not finite changes nothing.')
    self.assertNotEqual(ours[0], ours[3])

  def test_an_algorithm_corrects_it_and_keeps_a_state_beside_that_of_the_optimizer(self) -> None:
    update_type = tff.to_type((tff.TensorType(np.float32, (2,)), tff.TensorType(np.float32)))

    def correct(state: Any, update: Any) -> tuple[Any, tuple[tf.Tensor, ...]]:
      """Multiplies the tensor of an update by its number and by how many rounds there were."""
      (rounds,) = state
      return (rounds + 1,), (rounds * update[1] * update[0],)

    finalizer = finalizers.build_corrected_finalizer(
      _context('momentum'), update_type, lambda: (tf.constant(1.0),), correct
    )
    update = np.array([1, 2], np.float32), np.float32(0.5)
    # Gradients 0.5 and 1 for the first weight: momentum makes speeds of 0.5 and 1.45 of them.
    found = _finalize(finalizer, update, update)
    np.testing.assert_allclose(found, [[0.95, 0.9], [0.805, 0.61]], rtol=1e-6)


if __name__ == '__main__':
  absltest.main()
