"""Tests of putting a learning process together."""

import contextlib
import os
from typing import Any

from absl.testing import absltest
import numpy as np
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.aggregation import private_mean
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import composition
from tff_tasks.algorithms import fed_dyn
from tff_tasks.algorithms import learning_process
from tff_tasks.population import client_data
from tff_tasks.runtime import tff as tff_runtime


class CompositionTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    shards = algorithm_rounds.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    model = algorithm_rounds.build_model()

    @tff.tensorflow.computation
    def initial_weights() -> Any:
      return tff.learning.models.ModelWeights(tuple(model.initial_weights), ())

    weights_type = initial_weights.type_signature.result
    optimizer = learning_process.build_server_optimizer('momentum', 1.0)
    context = base.Context(model, weights_type, fakes.SCHEMA, algorithm_rounds.TRAINING, optimizer, 8, 3)
    aggregator = private_mean.build_aggregator(weights_type.trainable, algorithm_rounds.PLAIN, algorithm_rounds.SEED)
    self._process = composition.compose(
      initial_weights, client_work.build_parts(context, fed_dyn.FedDyn(0.1)), aggregator
    )
    self._source = client_data.ClientDataSource(shards, 4, 24, algorithm_rounds.SEED)

  def test_each_part_has_its_state_and_the_tags_reach_the_aggregator(self) -> None:
    cohort = self._source.cohort(1, np.array([1, 4, 6]))
    size = algorithm_rounds.begin().size
    data = [[cohort.load(place)._replace(memory=np.zeros(size, np.float32))] for place in range(len(cohort))]
    with contextlib.closing(tff_runtime.TffRuntime(self._process)):
      begin = self._process.initialize()
      after, metrics = self._process.next(begin, data)
      algorithm_rounds.assert_close(algorithm_rounds.flat(begin), algorithm_rounds.begin())
      self.assertEqual((begin.aggregator['round'], after.aggregator['round']), (0, 1))
      self.assertEqual((begin.client_work['round'], after.client_work['round']), (0, 1))
      moved, _ = after.finalizer
      self.assertGreater(max(np.abs(part).max() for part in moved), 1e-3)
      rows = sorted(zip(metrics['aggregator'].index, metrics['aggregator'].examples, strict=True))
      self.assertEqual(rows, [(1, 24), (4, 17), (6, 9)])
      self.assertEqual(sorted(metrics['client_work']['memory'].index), [1, 4, 6])
      self._replace_the_weights(after)

  def _replace_the_weights(self, state: Any) -> None:
    """Checks that this changes nothing but the weights, and that they can be read."""
    weights = self._process.get_model_weights(state)
    halves = tff.learning.models.ModelWeights(tuple(part / 2 for part in weights.trainable), ())
    found = self._process.set_model_weights(state, halves)
    algorithm_rounds.assert_close(algorithm_rounds.flat(found), algorithm_rounds.flat(state) / 2)
    for one, other in zip(found[1:], state[1:], strict=True):
      self.assertEqual(str(one), str(other))


if __name__ == '__main__':
  absltest.main()
