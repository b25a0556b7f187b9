"""What a task is: a Keras model for a schema, with the loss and the accuracy that both training and export use."""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import tensorflow as tf

from pipelines import schema as schema_lib


@dataclasses.dataclass(frozen=True)
class Task:
  """A named kind of learning problem.

  Attributes:
    name: The name that a schema asks for.
    build_model: `(schema, model_size, unroll, batch_size) -> tf.keras.Model` from features `[batch, ...]` to logits
      `[batch, ..., num_classes]`. `unroll` and `batch_size` change the graph, never the weights: the device wants
      recurrent layers unrolled and a batch of one.
    default_size: The `model_size` (width of the main layer) of a model of quickstart size.
    prefers_xla: Whether XLA trains it faster on a CPU: recurrent layers yes, convolutions no.
  """

  name: str
  build_model: Callable[[schema_lib.Schema, int, bool, int | None], tf.keras.Model]
  default_size: int
  prefers_xla: bool


class Sums(NamedTuple):
  """Sums over the labels that count; ratios are left to whoever knows what to divide by."""

  loss: tf.Tensor
  correct: tf.Tensor
  count: tf.Tensor


def sums(labels: tf.Tensor, logits: tf.Tensor) -> Sums:
  """Sums cross entropy (nats), correct predictions and labels of each example, leaving `IGNORED_LABEL` out.

  Args:
    labels: Integers `[batch, ...]`.
    logits: Floats `[batch, ..., num_classes]`.

  Returns:
    `Sums` of three float32 tensors `[batch]`.
  """
  counts = tf.not_equal(labels, schema_lib.IGNORED_LABEL)
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.maximum(labels, 0), logits=logits)
  hits = tf.cast(tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels), tf.float32)
  positions = list(range(1, len(labels.shape)))
  # Chosen, not multiplied by zero: that would let a NaN through.
  counted = (tf.where(counts, value, 0.0) for value in (losses, hits, tf.ones_like(losses)))
  return Sums(*(tf.reduce_sum(value, axis=positions) for value in counted))
