"""What algorithms are compared with: the same model and data in NumPy, and TFF's own algorithms."""

import collections
from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from contracts import client_shards
from contracts import schema as schema_lib
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.runtime import tff as tff_runtime

BuildModel = Callable[[], tff.learning.models.VariableModel]


@dataclasses.dataclass(frozen=True)
class Toy:
  """The model and the clients of `algorithm_rounds` in NumPy, float64; weights are one vector.

  Attributes:
    shards: The data set.
    training: How clients train: with SGD or momentum.
    capabilities: The work of each client; None if all do the same.
  """

  shards: client_shards.ClientShards
  training: local_sgd.LocalTraining = algorithm_rounds.TRAINING
  capabilities: capabilities_lib.Capabilities | None = None

  def examples(self, client: int) -> int:
    """Returns how many examples a client trains on."""
    share = self.capabilities.classes[self.capabilities.class_of[client]].examples if self.capabilities else 1
    return min(max(round(share * fakes.SIZES[client]), 1), algorithm_rounds.MOST_EXAMPLES)

  def steps(self, client: int) -> int:
    """Returns how many steps a client takes in a round."""
    epochs, batch_size = self.training.epochs, self.training.batch_size
    if self.capabilities:
      own = self.capabilities.classes[self.capabilities.class_of[client]]
      epochs, batch_size = own.epochs, own.batch_size
    return epochs * -(-self.examples(client) // batch_size)

  def rate(self, index: int) -> float:
    """Returns the learning rate of a round, counted from 0."""
    share = min(1.0, 2 * (1 - index / self.training.total_rounds)) if self.training.schedule == 'linear' else 1.0
    return self.training.learning_rate * share

  def gradient(self, client: int, weights: np.ndarray) -> np.ndarray:
    """Returns the gradient of the mean cross entropy over a client's labels."""
    features, labels = (array[0].astype(int) for array in self.shards.read('train', client))
    features, labels = features[labels >= 0], labels[labels >= 0]
    table, dense, bias = _split(weights)
    hidden = table[features]
    logits = hidden @ dense + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    by_logits = (shares - np.eye(len(bias))[labels]) / len(labels)
    by_table = np.zeros_like(table)
    np.add.at(by_table, features, by_logits @ dense.T)
    return algorithm_rounds.join([by_table, hidden.T @ by_logits, by_logits.sum(axis=0)])

  def train(
    self, client: int, begin: np.ndarray, drift: np.ndarray | float = 0.0, pull: float = 0.0, index: int = 0
  ) -> np.ndarray:
    """Returns the weights after a client's steps.

    Args:
      client: The client.
      begin: The weights before.
      drift: Is added to each gradient.
      pull: The strength of a term that pulls the weights towards those before.
      index: The round, counted from 0.
    """
    weights, bound = np.asarray(begin, float), self.training.max_gradient_norm
    momentum, speed = local_sgd.MOMENTUM if self.training.optimizer == 'momentum' else 0.0, np.zeros_like(weights)
    for _ in range(self.steps(client)):
      gradient = self.gradient(client, weights)
      if bound is not None:
        gradient = gradient * min(1.0, bound / np.linalg.norm(gradient))
      gradient = gradient + drift + pull * (weights - begin)
      speed = momentum * speed + gradient
      weights = weights - self.rate(index) * speed
    return weights


def run_tffs(
  build: Callable[[BuildModel], tff.learning.templates.LearningProcess],
  toy: Toy,
  cohorts: Sequence[Sequence[int]] = algorithm_rounds.TWICE,
) -> np.ndarray:
  """Returns the weights after a round of one of TFF's algorithms for each cohort."""
  element = collections.OrderedDict(x=tf.TensorSpec([None, 12], tf.int32), y=tf.TensorSpec([None, 12], tf.int32))

  def build_model() -> tff.learning.models.VariableModel:
    keras_model = algorithm_rounds.build_keras_model()
    return tff.learning.models.from_keras_model(keras_model, loss=MeanLoss(), input_spec=element)

  def data(client: int) -> tf.data.Dataset:
    features, labels = (array[: toy.examples(client)].astype(np.int32) for array in toy.shards.read('train', client))
    batches = tf.data.Dataset.from_tensor_slices(collections.OrderedDict(x=features, y=labels))
    return batches.batch(toy.training.batch_size).repeat(toy.training.epochs)

  process = build(build_model)
  runtime: Any = tff_runtime.TffRuntime(process)
  try:
    weights = tff.learning.models.ModelWeights(algorithm_rounds.build_model().initial_weights, [])
    state = process.set_model_weights(process.initialize(), weights)
    for cohort in cohorts:
      state = process.next(state, list(map(data, cohort))).state
    return algorithm_rounds.flat(state)
  finally:
    runtime.close()


class MeanLoss(tf.keras.losses.Loss):
  """The mean over the labels that count."""

  def call(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    labels = tf.cast(labels, tf.int32)  # Metrics of Keras make floats of them.
    # TFF builds models in graphs where `!=` compares the tensors as objects.
    counts = tf.cast(tf.not_equal(labels, schema_lib.IGNORED_LABEL), tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), logits)
    return tf.reduce_sum(losses * counts) / tf.reduce_sum(counts)


def _split(weights: np.ndarray) -> list[np.ndarray]:
  shapes = [weight.shape for weight in algorithm_rounds.build_model().initial_weights]
  ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
  return [part.reshape(shape) for part, shape in zip(np.split(weights, ends), shapes, strict=True)]
