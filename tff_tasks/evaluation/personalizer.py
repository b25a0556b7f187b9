"""How much fine-tuning on a user's own examples gives: the accuracy of held-out users before and after.

Of a model with local layers, only those are fine-tuned: they are reconstructed as in a round of FedRecon.

Each user's examples are cut into a part to fine-tune on and a part to evaluate on. Nothing that is later than what is
predicted is trained on: where examples have an order, the first half is for fine-tuning, and examples that share rows
with the second half are in neither. Where they have none (a declaration with a random tail: such a log may be sorted by
label), half of them is drawn by a hash of the client's id.
"""

from collections.abc import Sequence
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import manifests
from contracts import personalization
from contracts import schema as schema_lib
from models import functional_model
from tff_tasks.algorithms import local_sgd
from tff_tasks.evaluation import evaluation
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.runtime import session_call
from tff_tasks.runtime import workers as workers_lib

# Public, and the same for all runs: nothing of this is released, and a run can be measured again.
_SEED = seeds.Seed.from_number(0)
_ROUND = 0


class Personalizer:
  """Fine-tunes a model for single users by the local SGD of a round, and measures it before and after.

  Args:
    model: The model to give the weights to.
    shards: Where the users are.
    split: Which ones: of users that took part in no round.
    tuning: How they are fine-tuned.
    workers: What works on users, each on one at a time. The figures do not depend on how many there are.
  """

  def __init__(
    self,
    model: functional_model.FunctionalModel,
    shards: client_shards.ClientShards,
    split: str,
    tuning: personalization.FineTuning,
    workers: workers_lib.Workers,
  ) -> None:
    self._shards, self._split, self._tuning, self._workers = shards, split, tuning, workers
    self._is_ordered = manifests.is_ordered(shards.manifest)
    self._overlapping = manifests.count_overlapping(shards.manifest)
    self._batch_size = evaluation.batch_size(shards.schema)
    self._tune = _build_tune(model, shards.schema, tuning)
    self._sums = evaluation.build_sums(model, shards.schema, None)

  def measure(self, weights: Sequence[np.ndarray]) -> tuple[list[personalization.User], dict[str, Any]]:
    """Returns each user of the split, and the figures of all of them (`personalization.summarize`).

    Raises:
      ValueError: If the data of a client cannot be read.
    """
    clients = range(self._shards.num_clients(self._split))
    tasks = (functools.partial(self._measure, weights, client) for client in clients)
    users = list(self._workers.in_order(tasks))
    return users, personalization.summarize(users, self._tuning, self._split, self._is_ordered)

  def _measure(self, weights: Sequence[np.ndarray], client: int) -> personalization.User:
    features, labels = client_data.read_held_out(self._shards, self._split, client)
    client_id = self._shards.client_id(self._split, client)
    tuning, held_out = cut(len(labels), bytes.fromhex(client_id), self._is_ordered, self._overlapping)
    user = personalization.User(client_id, personalization.NOT_MEASURED, len(tuning), len(held_out))
    if not len(tuning) or not (labels[held_out] >= 0).any():
      return user
    loss, accuracy = self._evaluate(weights, features[held_out], labels[held_out])
    user = user._replace(outcome=personalization.DIVERGED, accuracy_before=accuracy, loss_before=loss)
    dataset = _dataset(features[tuning], labels[tuning], self._tuning.batch_size, bytes.fromhex(client_id))
    tuned = self._tune(*weights, *dataset)
    loss, accuracy = self._evaluate(tuned, features[held_out], labels[held_out])
    if not all(np.isfinite(weight).all() for weight in tuned) or not np.isfinite(loss):
      return user
    return user._replace(outcome=personalization.MEASURED, accuracy_after=accuracy, loss_after=loss)

  def _evaluate(self, weights: Sequence[np.ndarray], features: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Returns loss and accuracy over the labels, as many examples in memory at a time as in any evaluation."""
    sums = [
      self._sums(*weights, features[start : start + self._batch_size], labels[start : start + self._batch_size])
      for start in range(0, len(labels), self._batch_size)
    ]
    loss, correct, count = np.sum([[np.sum(values, dtype=np.float64) for values in batch] for batch in sums], axis=0)
    return float(loss / count), float(correct / count)


def cut(count: int, client_id: bytes, is_ordered: bool, overlapping: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns which examples of a client to fine-tune on, and which to evaluate on: a half each.

  Args:
    count: How many examples there are.
    client_id: What a random half depends on.
    is_ordered: Whether the first half is to fine-tune on, or a random one.
    overlapping: How many of the examples that follow an example share rows with it.
  """
  half = count // 2
  if is_ordered:
    return np.arange(max(half - overlapping, 0)), np.arange(half, count)
  order = _SEED.stream('halves', client_id).permutation(count)
  return np.sort(order[:half]), np.sort(order[half:])


def _dataset(features: np.ndarray, labels: np.ndarray, batch_size: int, client_id: bytes) -> client_data.ClientDataset:
  """Returns the dataset of a client as `LocalSgd` takes it: its labels fill whole batches."""
  missing = -len(labels) % batch_size
  filler = np.full((missing, *labels.shape[1:]), schema_lib.IGNORED_LABEL, labels.dtype)
  seed = _SEED.client_seeds(_ROUND, client_id)
  return client_data.ClientDataset(
    features=features,
    first=np.int32(0),
    index=np.int32(0),
    labels=np.concatenate([labels, filler]),
    memory=np.zeros(0, np.float32),
    num_examples=np.int32(len(labels)),
    seeds=seed,
    work=np.zeros(2, np.int32),
  )


def _build_tune(
  model: functional_model.FunctionalModel, schema: schema_lib.Schema, tuning: personalization.FineTuning
) -> session_call.Function:
  """Returns the function `(*weights, *dataset)` to the weights after fine-tuning."""
  training = local_sgd.LocalTraining(tuning.learning_rate, tuning.batch_size, tuning.epochs)
  indices = model.indices('local layers', tuning.local_layers) if tuning.local_layers else None
  num_weights = len(model.initial_weights)

  def tune(*arguments: tf.Tensor) -> list[tf.Tensor]:
    weights, dataset = arguments[:num_weights], client_data.ClientDataset(*arguments[num_weights:])
    trained, _ = local_sgd.LocalSgd(model, training, dataset, schema.first_answer).run(list(weights), indices)
    return trained

  inputs = [
    *(tf.TensorSpec(weight.shape, weight.dtype) for weight in model.initial_weights),
    tf.TensorSpec((None, *schema.feature.shape), schema.feature.dtype),
    tf.TensorSpec((), tf.int32),
    tf.TensorSpec((), tf.int32),
    tf.TensorSpec((None, *schema.label.shape), schema.label.dtype),
    tf.TensorSpec((0,), tf.float32),
    tf.TensorSpec((), tf.int32),
    tf.TensorSpec((2, 2), tf.int32),
    tf.TensorSpec((2,), tf.int32),
  ]
  return session_call.make_resident(tune, inputs)
