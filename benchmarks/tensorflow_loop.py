"""FedAvg in TensorFlow as one would write it by hand, to measure ours against.

A resident model and one compiled function a thread, a thread a core, a client a call, all clients in memory.
"""

from collections.abc import Callable
import concurrent.futures
import os
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import workloads
from contracts import client_shards


class TensorflowLoop:
  """Rounds of the hand-written loop. With a clip in the workload's plan, clipped updates and noise on their sum."""

  use_xla = False

  def __init__(self, workload: workloads.Workload, shards: client_shards.ClientShards) -> None:
    self._clients = [tuple(map(np.array, shards.read('train', client))) for client in range(workload.clients)]
    self._weights = workload.build_model().get_weights()
    threads = os.cpu_count() or 1
    self._trainers = [_build_trainer(workload) for _ in range(threads)]
    self._pool = concurrent.futures.ThreadPoolExecutor(threads)
    self._deviation = workload.plan.get('noise_multiplier', 0) * workload.plan.get('clip_norm', 0)
    self._noise = np.random.default_rng(0)

  def run(self) -> None:
    """Runs one round, whose mean update moves the weights."""
    weights = [tf.constant(weight) for weight in self._weights]
    sums = list(self._pool.map(self._train_share, range(len(self._trainers)), [weights] * len(self._trainers)))
    for place, weight in enumerate(self._weights):
      total = sum(share[place].numpy() for share in sums)
      if self._deviation:
        total = total + self._noise.normal(0, self._deviation, weight.shape)
      self._weights[place] = (weight - total / len(self._clients)).astype(np.float32)

  def close(self) -> None:
    """Ends the threads."""
    self._pool.shutdown()

  def _train_share(self, thread: int, weights: list[tf.Tensor]) -> list[tf.Tensor]:
    total = [tf.zeros_like(weight) for weight in weights]
    for features, labels in self._clients[thread :: len(self._trainers)]:
      update = self._trainers[thread](features, labels, *weights)
      total = [one + other for one, other in zip(total, update, strict=True)]
    return total


def _build_trainer(workload: workloads.Workload) -> Callable[..., list[tf.Tensor]]:
  """Returns a compiled function of a client's features and labels and of the weights, which returns the update."""
  loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model = workload.build_model()
  for layer in model.layers:
    layer.unroll = True  # Of use to recurrent layers alone: the faster way without XLA.
  variables = model.trainable_variables
  clip_norm = workload.plan.get('clip_norm')

  @tf.function
  def train(features: Any, labels: Any, *weights: Any) -> list[Any]:
    for variable, weight in zip(variables, weights, strict=True):
      variable.assign(weight)
    for step in tf.range(workload.examples // workload.batch_size):
      part = slice(step * workload.batch_size, (step + 1) * workload.batch_size)
      batch = tf.ensure_shape(features[part], (workload.batch_size, *workload.schema.feature.shape))
      with tf.GradientTape() as tape:
        value = loss(labels[part], model(batch, training=True))
      for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
        variable.assign_sub(workloads.LEARNING_RATE * tf.convert_to_tensor(gradient))
    update = [weight - variable for variable, weight in zip(variables, weights, strict=True)]
    return tf.clip_by_global_norm(update, clip_norm)[0] if clip_norm else update

  return train
