"""Trials that every model must pass: it learns as a function of its weights, and a device can run it."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from export import parity
from export.variants import float32
from models import functional_model
from models import task as task_lib

_STEPS, _SIZE = 30, 16


def losses_of_training(
  task: task_lib.Task, schema: schema_lib.Schema, features: np.ndarray, labels: np.ndarray, learning_rate: float
) -> list[float]:
  """Returns the mean loss of a new model over all examples before each of some steps of SGD on them, as stored."""
  model = functional_model.FunctionalModel(lambda: task.build_model(schema, _SIZE, False, None), seed=1)

  @tf.function
  def step(
    weights: Sequence[tf.Tensor], features: tf.Tensor, labels: tf.Tensor
  ) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
    with tf.GradientTape() as tape:
      tape.watch(weights)
      sums = task_lib.sums(tf.cast(labels, tf.int32), model(weights, features))
      loss = tf.reduce_sum(sums.loss) / tf.reduce_sum(sums.count)
    gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)]
    return loss, [weight - learning_rate * gradient for weight, gradient in zip(weights, gradients, strict=True)]

  weights, losses = [tf.constant(weight) for weight in model.initial_weights], []
  for _ in range(_STEPS):
    loss, weights = step(weights, tf.constant(features), tf.constant(labels))
    losses.append(float(loss))
  return losses


def logits_on_device(
  task: task_lib.Task, schema: schema_lib.Schema, features: np.ndarray, path: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what the file of a model, written to `path`, says on the device's runtime, and what Keras says."""
  keras = task.build_model(schema, _SIZE, False, None)
  device = task.build_model(schema, _SIZE, True, 1)
  device.set_weights(keras.get_weights())
  with open(path, 'wb') as file:
    file.write(float32.Float32().convert(device, None))
  expected = keras(features.astype(keras.input.dtype.as_numpy_dtype)).numpy()
  return parity.tflite_answers(path, features).logits, expected
