"""How well a model does on one split of the data: over all labels, and uniformly over users."""

from collections.abc import Iterator, Sequence
import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import schema as schema_lib
from models import functional_model
from models import task as task_lib
from tff_tasks.population import client_data
from tff_tasks.runtime import session_call
from tff_tasks.runtime import workers as workers_lib

# Enough for the speed of one core; more would leave cores without work on a small split.
_MAX_BATCH_SIZE = 128
_MAX_LOGITS = 1 << 22  # In a batch, which takes several times their memory: fewer examples of a large vocabulary.


class Evaluation(NamedTuple):
  """Loss (nats) and accuracy over labels, and the mean over users of each one's accuracy; NaN without labels.

  `metrics` are those of the task by name, over labels.
  """

  loss: float
  accuracy: float
  accuracy_per_user: float
  metrics: dict[str, float]


class _Batch(NamedTuple):
  """As many examples as every other batch, in the order of the split, and the client that each of them is of."""

  features: np.ndarray
  labels: np.ndarray
  clients: np.ndarray


class Evaluator:
  """Evaluates weights on a split, which is read anew each time: that costs little, and no memory.

  Args:
    model: The model to give the weights to.
    shards: Where the split is.
    split: Which one.
    workers: What evaluates batches. The figures do not depend on how many there are.
    metrics: Of the task, beside loss and accuracy.
  """

  def __init__(
    self,
    model: functional_model.FunctionalModel,
    shards: client_shards.ClientShards,
    split: str,
    workers: workers_lib.Workers,
    metrics: tuple[task_lib.Metric, ...] = (),
  ) -> None:
    self._shards, self._split, self._workers = shards, split, workers
    self._batch_size = batch_size(shards.schema)
    self._metrics = metrics
    self._sums = build_sums(model, shards.schema, self._batch_size, metrics)

  def evaluate(self, weights: Sequence[np.ndarray]) -> Evaluation:
    """Returns the figures of a model with these weights.

    Raises:
      ValueError: If the data of a client cannot be read.
    """
    tasks = (functools.partial(self._measure, weights, batch) for batch in self._batches())
    totals = np.zeros((3 + len(self._metrics), self._shards.num_clients(self._split)))
    loss, correct, count, *others = totals
    for clients, sums in self._workers.in_order(tasks):
      for total, values in zip(totals, sums, strict=True):
        np.add.at(total, clients, values)
    users = count > 0
    if not users.any():
      return Evaluation(np.nan, np.nan, np.nan, {metric.name: np.nan for metric in self._metrics})
    mean_loss, accuracy, *means = (float(total.sum() / count.sum()) for total in (loss, correct, *others))
    of_users = float(np.mean(correct[users] / count[users]))
    names = (metric.name for metric in self._metrics)
    return Evaluation(mean_loss, accuracy, of_users, dict(zip(names, means, strict=True)))

  def _measure(self, weights: Sequence[np.ndarray], batch: _Batch) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the client of each example, and its sums."""
    return batch.clients, self._sums(*weights, batch.features, batch.labels)

  def _batches(self) -> Iterator[_Batch]:
    held: list[_Batch] = []
    missing = self._batch_size
    for client in range(self._shards.num_clients(self._split)):
      features, labels = client_data.read_held_out(self._shards, self._split, client)
      while len(labels) >= missing:
        yield _join([*held, _of_client(client, features[:missing], labels[:missing])])
        features, labels = features[missing:], labels[missing:]
        held, missing = [], self._batch_size
      held.append(_of_client(client, features, labels))
      missing -= len(labels)
    if missing < self._batch_size:
      yield _join([*held, _filler(self._shards.schema, missing)])


def batch_size(schema: schema_lib.Schema) -> int:
  """Returns the most examples that are evaluated in one call."""
  return max(1, min(_MAX_BATCH_SIZE, _MAX_LOGITS // (schema.num_classes * schema.label.size)))


def _of_client(client: int, features: np.ndarray, labels: np.ndarray) -> _Batch:
  return _Batch(features, labels, np.full(len(labels), client))


def _filler(schema: schema_lib.Schema, count: int) -> _Batch:
  """Returns examples without a label that counts, so that it does not matter whose they are."""
  features = np.zeros((count, *schema.feature.shape), schema.feature.dtype)
  labels = np.full((count, *schema.label.shape), schema_lib.IGNORED_LABEL, schema.label.dtype)
  return _of_client(0, features, labels)


def _join(parts: Sequence[_Batch]) -> _Batch:
  return _Batch(*map(np.concatenate, zip(*parts, strict=True)))


@functools.lru_cache(maxsize=1)  # The splits of a run differ in nothing that matters here.
def build_sums(
  model: functional_model.FunctionalModel,
  schema: schema_lib.Schema,
  examples: int | None,
  metrics: tuple[task_lib.Metric, ...] = (),
) -> session_call.Function:
  """Returns the function `(*weights, features, labels)` to the sums of each example of a batch.

  Args:
    model: The model to give the weights to.
    schema: What an example is.
    examples: How many a batch has; None for any number.
    metrics: Of the task, which follow loss, accuracy and count.
  """

  def sums(*arguments: tf.Tensor) -> list[tf.Tensor]:
    *weights, features, labels = arguments
    logits, labels = model(weights, features, training=False), tf.cast(labels, tf.int32)
    others = task_lib.sums_of_metrics(metrics, labels, logits, schema.first_answer)
    return [*task_lib.sums(labels, logits, schema.first_answer), *others]

  inputs = [
    *(tf.TensorSpec(weight.shape, weight.dtype) for weight in model.initial_weights),
    *(tf.TensorSpec((examples, *part.shape), part.dtype) for part in (schema.feature, schema.label)),
  ]
  return session_call.make_resident(sums, inputs)
