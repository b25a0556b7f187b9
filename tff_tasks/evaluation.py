"""How well a model does on one split of the data: over all labels, and uniformly over users."""

from collections.abc import Sequence
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models import task as task_lib
from pipelines import client_shards
from pipelines import schema as schema_lib

_MAX_BATCH_SIZE = 256
_MAX_LOGITS = 1 << 23  # In a batch, which takes several times their memory: fewer examples of a large vocabulary.


class Evaluation(NamedTuple):
  """Loss (nats) and accuracy over labels, and the mean over users of each one's accuracy; NaN without labels."""

  loss: float
  accuracy: float
  accuracy_per_user: float


_NO_FIGURES = Evaluation(np.nan, np.nan, np.nan)


class Evaluator:
  """Evaluates weights on a split, which it keeps in memory as stored.

  Args:
    model: The Keras model to put the weights into.
    shards: Where the split is.
    split: Which one.
  """

  def __init__(self, model: tf.keras.Model, shards: client_shards.ClientShards, split: str) -> None:
    self._model = model
    self._batch_size = max(1, min(_MAX_BATCH_SIZE, _MAX_LOGITS // math.prod(model.output.shape[1:])))
    self._features, self._labels, self._clients = shards.read_all(split)
    self._num_clients = shards.num_clients(split)
    self._sums = tf.function(self._sums_of_batch, reduce_retracing=True)

  def evaluate(self, weights: Sequence[np.ndarray]) -> Evaluation:
    """Returns the figures of a model with these weights."""
    self._model.set_weights(list(weights))
    batches = [self._sums(*self._batch(start)) for start in range(0, len(self._labels), self._batch_size)]
    if not batches:
      return _NO_FIGURES
    loss, correct, count = (
        np.bincount(self._clients, np.concatenate(parts)[: len(self._labels)], self._num_clients)
        for parts in zip(*batches, strict=True)
    )
    users = count > 0
    if not users.any():
      return _NO_FIGURES
    figures = loss.sum() / count.sum(), correct.sum() / count.sum(), np.mean(correct[users] / count[users])
    return Evaluation(*map(float, figures))

  def _batch(self, start: int) -> tuple[np.ndarray, np.ndarray]:
    features, labels = (values[start : start + self._batch_size] for values in (self._features, self._labels))
    missing = self._batch_size - len(labels)
    fill = lambda values, value: np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1), constant_values=value)  # noqa: E731
    return fill(features, 0), fill(labels, schema_lib.IGNORED_LABEL)

  def _sums_of_batch(self, features: tf.Tensor, labels: tf.Tensor) -> task_lib.Sums:
    logits = self._model(tf.cast(features, self._model.input.dtype), training=False)
    return task_lib.sums(tf.cast(labels, tf.int32), logits)
