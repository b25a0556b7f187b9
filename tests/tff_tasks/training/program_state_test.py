"""Tests of what another run, or another secret, takes from where a run has come to."""

import collections
from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.tff_tasks import fakes
from tff_tasks.algorithms import learning_process
from tff_tasks.population import seeds
from tff_tasks.training import metrics
from tff_tasks.training import program_state


class _LearningState(NamedTuple):
  global_model_weights: Any
  aggregator: Any
  finalizer: Any


def _aggregator(secret: int) -> collections.OrderedDict[str, np.int32]:
  return collections.OrderedDict(secret=np.int32(secret), round=np.int32(0))


def _loaded(number: int, state: Any) -> program_state.ProgramState:
  """Returns the program state as it comes from a file: what the process has, flat."""
  seed, history = seeds.Seed.from_number(9), fakes.history().after(number)
  return program_state.ProgramState(number, seed, {}, tf.nest.flatten(state), history, metrics.Rows())


class ProgramStateTest(parameterized.TestCase):
  @parameterized.parameters(
    (('sgd', 1.0), ('sgd', 0.01)),
    (('adam', 0.1), ('yogi', 0.1)),
    (('sgd', 1.0), ('sgd', 1.0, 'linear', 8)),
  )
  def test_a_branch_takes_the_weights_and_its_own_optimizer(self, old: Any, new: Any) -> None:
    """The state of TFF's optimizers holds what they were built with."""
    spec = (tf.TensorSpec([2]),)
    begun, other = (
      tf.nest.map_structure(np.asarray, learning_process.build_server_optimizer(*arguments).initialize(spec))
      for arguments in (old, new)
    )
    weights = np.array([1, 2], np.float32)
    found = _loaded(1, _LearningState((weights,), _aggregator(2), begun))
    state = found.branched(_LearningState((0 * weights,), _aggregator(8), other)).state
    np.testing.assert_array_equal(state.global_model_weights[0], weights)
    self.assertEqual(state.aggregator, {'secret': 8, 'round': 1})
    tf.nest.map_structure(np.testing.assert_array_equal, state.finalizer, other)

  def test_rounds_that_run_again_take_all_but_what_is_secret(self) -> None:
    found = _loaded(1, _LearningState((np.float32(1),), _aggregator(2), (np.float32(3),)))
    state = found.restarted(_LearningState((np.float32(7),), _aggregator(8), (np.float32(9),))).state
    self.assertEqual(state, ((1,), {'secret': 8, 'round': 1}, (3,)))
    with self.assertRaisesRegex(ValueError, 'Expected a checkpoint of this model and optimizer'):
      found.restarted(_LearningState((np.float32(7),), _aggregator(8), (np.float32(9), np.float32(0))))

  def test_an_aggregator_of_tff_has_no_secret(self) -> None:
    # That of a whole process of TFF: the state of a mean, with the names that TFF gives.
    aggregator = collections.OrderedDict(value_sum_process=(), weight_sum_process=np.float32(4))
    found = _loaded(3, _LearningState((np.float32(1),), aggregator, (np.float32(3),)))
    begun = collections.OrderedDict(value_sum_process=(), weight_sum_process=np.float32(0))
    initial = _LearningState((np.float32(7),), begun, (np.float32(9),))
    self.assertEqual(found.restarted(initial).state, ((1,), aggregator, (3,)))
    self.assertEqual(found.branched(initial).state, ((1,), begun, (9,)))

  def test_a_branch_of_another_model_is_refused(self) -> None:
    found = _loaded(1, _LearningState((np.zeros(3),), _aggregator(2), ()))
    with self.assertRaisesRegex(ValueError, 'Expected a run of this model to branch from, .* leave --branch_from out'):
      found.branched(_LearningState((np.zeros(4),), _aggregator(2), ()))


if __name__ == '__main__':
  absltest.main()
