"""Tests that FedProx is TFF's, and FedAvg without its proximal term."""

import collections
import dataclasses
import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models.tasks import next_character
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox
from tff_tasks.population import client_data
from tff_tasks.runtime import tff as tff_runtime

_MU = 2.0


class FedProxTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._rounds = algorithm_rounds.Rounds(shards)

  def test_equals_tffs(self) -> None:
    """With one batch a pass, whose order does not matter, and three passes: the proximal term needs a second step."""
    rounds = dataclasses.replace(self._rounds, training=client_work.LocalTraining(0.5, 24, 3))
    cohort = rounds.source.cohort(1, np.array(algorithm_rounds.COHORT))
    datasets = [cohort.load(place) for place in range(len(cohort))]
    ours, _ = rounds.run(fed_prox.FedProx(_MU), count=1)
    algorithm_rounds.assert_close(ours, _run_tffs(datasets, _MU))
    self.assertGreater(algorithm_rounds.distance(ours, rounds.run(fed_avg.FedAvg(), count=1)[0]), 1e-3)

  @parameterized.parameters(True, False)
  def test_without_the_term_it_is_fed_avg_bit_for_bit(self, use_xla: bool) -> None:
    kinds: list[base.Algorithm] = [fed_prox.FedProx(0.0), fed_avg.FedAvg()]
    pairs = [self._rounds.run(kind, use_xla=use_xla)[0] for kind in kinds]
    for one, other in zip(*pairs, strict=True):
      np.testing.assert_array_equal(one, other)

  @parameterized.product(plan=('plain', 'private'), use_xla=(True, False))
  def test_both_runtimes_are_equal(self, plan: str, use_xla: bool) -> None:
    plans = {'plain': algorithm_rounds.PLAIN, 'private': algorithm_rounds.PRIVATE}
    rounds = dataclasses.replace(self._rounds, plan=plans[plan])
    ours, theirs = (rounds.run(fed_prox.FedProx(_MU), name, use_xla)[0] for name in ('local', 'tff'))
    algorithm_rounds.assert_close(ours, theirs)

  def test_the_clip_and_the_noise_are_those_of_the_plan(self) -> None:
    rounds = dataclasses.replace(self._rounds, plan=algorithm_rounds.PRIVATE)
    begin = algorithm_rounds.build_model().initial_weights
    moved = []
    kinds: list[base.Algorithm] = [fed_avg.FedAvg(), fed_prox.FedProx(_MU)]
    for kind in kinds:
      weights, metrics = rounds.run(kind, count=1)
      self.assertGreater(metrics['aggregator']['norm_max'], rounds.plan.clip_norm)
      moved.append(np.concatenate([(one - other).ravel() for one, other in zip(weights, begin, strict=True)]))
    # The noise is the same, so all that differs is two sums of three updates of at most the clip.
    self.assertLessEqual(np.linalg.norm(moved[0] - moved[1]), 2 * (rounds.plan.clip_norm or 0.0) * 1.001)


class _MeanLoss(tf.keras.losses.Loss):
  """The mean over the labels that count."""

  def call(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    counts = labels != schema_lib.IGNORED_LABEL
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.boolean_mask(labels, counts), logits[counts])
    return tf.reduce_mean(losses)


def _run_tffs(datasets: list[client_data.ClientDataset], mu: float) -> list[np.ndarray]:
  """Returns the weights after a round of TFF's FedProx."""
  element = collections.OrderedDict(x=tf.TensorSpec([None, 12]), y=tf.TensorSpec([None, 12], tf.int32))
  initial = algorithm_rounds.build_model().initial_weights

  def build_model() -> tff.learning.models.VariableModel:
    keras_model = next_character.build_model(fakes.SCHEMA, 5)
    return tff.learning.models.from_keras_model(keras_model, loss=_MeanLoss(), input_spec=element)

  process = tff.learning.algorithms.build_unweighted_fed_prox(
      build_model, mu, tff.learning.optimizers.build_sgdm(0.5), tff.learning.optimizers.build_sgdm(1.0)
  )

  def data(dataset: client_data.ClientDataset) -> tf.data.Dataset:
    features, labels = fakes.examples(dataset)
    batch = collections.OrderedDict(x=features.astype(np.float32), y=labels.astype(np.int32))
    return tf.data.Dataset.from_tensors(batch).repeat(3)

  runtime: Any = tff_runtime.TffRuntime(process)
  try:
    weights = tff.learning.models.ModelWeights(initial, [])
    state = process.set_model_weights(process.initialize(), weights)
    return list(process.next(state, list(map(data, datasets))).state.global_model_weights.trainable)
  finally:
    runtime.close()


if __name__ == '__main__':
  absltest.main()
