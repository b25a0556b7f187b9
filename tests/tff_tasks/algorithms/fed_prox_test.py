"""Tests that FedProx is that of the paper, and FedAvg without its proximal term."""

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
from tests.tff_tasks import compiled_once
from tests.tff_tasks import fakes
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox
from tff_tasks.population import client_data
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import tff as tff_runtime

_MU, _RATE, _PASSES = 0.6, 0.5, 3


class FedProxTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._rounds = algorithm_rounds.Rounds(shards)

  def _whole_batches(self) -> tuple[algorithm_rounds.Rounds, list[client_data.ClientDataset]]:
    """Returns rounds of one batch a pass, whose order does not matter, and their data.

    Three passes: the proximal term is zero in the first step.
    """
    rounds = dataclasses.replace(self._rounds, training=client_work.LocalTraining(_RATE, 24, _PASSES))
    cohort = rounds.source.cohort(1, np.array(algorithm_rounds.COHORT))
    return rounds, [cohort.load(place) for place in range(len(cohort))]

  def test_minimizes_the_objective_of_the_paper(self) -> None:
    rounds, datasets = self._whole_batches()
    ours, _ = rounds.run(fed_prox.FedProx(_MU), count=1)
    algorithm_rounds.assert_close(ours, _minimize(datasets, _MU))
    self.assertGreater(algorithm_rounds.distance(ours, rounds.run(fed_avg.FedAvg(), count=1)[0]), 1e-3)

  def test_equals_tffs_but_for_the_sign_of_its_term(self) -> None:
    """TFF 0.87 adds `mu * (initial - weights)` to the gradient, which drives clients away from the server's weights."""
    rounds, datasets = self._whole_batches()
    theirs = _run_tffs(datasets, _MU)
    algorithm_rounds.assert_close(rounds.run(_Repelled(-_MU), count=1)[0], theirs)
    self.assertGreater(algorithm_rounds.distance(rounds.run(fed_prox.FedProx(_MU), count=1)[0], theirs), 1e-3)

  @parameterized.parameters(True, False)
  def test_without_the_term_it_is_fed_avg_bit_for_bit(self, use_xla: bool) -> None:
    kinds: list[base.Algorithm] = [fed_prox.FedProx(0.0), fed_avg.FedAvg()]
    pairs = [self._rounds.run(kind, use_xla=use_xla)[0] for kind in kinds]
    for one, other in zip(*pairs, strict=True):
      np.testing.assert_array_equal(one, other)

  @parameterized.named_parameters(('plain', algorithm_rounds.PLAIN), ('private', algorithm_rounds.PRIVATE))
  def test_both_runtimes_are_equal(self, plan: plan_lib.PrivacyPlan) -> None:
    rounds = dataclasses.replace(self._rounds, plan=plan)
    theirs, _ = rounds.run(fed_prox.FedProx(_MU), 'tff')
    for use_xla in (False, True):
      algorithm_rounds.assert_close(rounds.run(fed_prox.FedProx(_MU), 'local', use_xla)[0], theirs)

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
    # TFF builds models in graphs where `!=` compares the tensors as objects.
    counts = tf.cast(tf.not_equal(labels, schema_lib.IGNORED_LABEL), tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)
    return tf.reduce_sum(losses * counts) / tf.reduce_sum(counts)


@dataclasses.dataclass(frozen=True)
class _Repelled(fed_prox.FedProx):
  """FedProx whose strength may be negative."""

  def __post_init__(self) -> None:
    pass


def _minimize(datasets: list[client_data.ClientDataset], mu: float) -> list[np.ndarray]:
  """Returns the mean of the clients' weights after gradient descent on loss + mu / 2 * ||weights - initial||^2."""
  model, trained = next_character.build_model(fakes.SCHEMA, 5), []
  initial = [tf.constant(weight) for weight in algorithm_rounds.build_model().initial_weights]
  for features, labels in map(fakes.examples, datasets):
    model.set_weights(initial)
    for _ in range(_PASSES):
      with tf.GradientTape() as tape:
        pairs = zip(model.trainable_weights, initial, strict=True)
        squares = [tf.reduce_sum((one - other) ** 2) for one, other in pairs]
        objective = _MeanLoss()(labels.astype(np.int32), model(features)) + mu / 2 * tf.add_n(squares)
      gradients = tape.gradient(objective, model.trainable_weights)
      for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        weight.assign_sub(_RATE * tf.convert_to_tensor(gradient))
    trained.append(model.get_weights())
  return [np.mean(weights, axis=0) for weights in zip(*trained, strict=True)]


def _run_tffs(datasets: list[client_data.ClientDataset], mu: float) -> list[np.ndarray]:
  """Returns the weights after a round of TFF's FedProx."""
  element = collections.OrderedDict(x=tf.TensorSpec([None, 12]), y=tf.TensorSpec([None, 12], tf.int32))
  initial = algorithm_rounds.build_model().initial_weights

  def build_model() -> tff.learning.models.VariableModel:
    keras_model = next_character.build_model(fakes.SCHEMA, 5)
    return tff.learning.models.from_keras_model(keras_model, loss=_MeanLoss(), input_spec=element)

  process = tff.learning.algorithms.build_unweighted_fed_prox(
    build_model, mu, tff.learning.optimizers.build_sgdm(_RATE), tff.learning.optimizers.build_sgdm(1.0)
  )

  def data(dataset: client_data.ClientDataset) -> tf.data.Dataset:
    features, labels = fakes.examples(dataset)
    batch = collections.OrderedDict(x=features.astype(np.float32), y=labels.astype(np.int32))
    return tf.data.Dataset.from_tensors(batch).repeat(_PASSES)

  runtime: Any = tff_runtime.TffRuntime(process)
  try:
    weights = tff.learning.models.ModelWeights(initial, [])
    state = process.set_model_weights(process.initialize(), weights)
    return list(process.next(state, list(map(data, datasets))).state.global_model_weights.trainable)
  finally:
    runtime.close()


if __name__ == '__main__':
  absltest.main()
