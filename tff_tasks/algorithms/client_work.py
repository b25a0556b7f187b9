"""What a client does in a round: local SGD, as one plain function of weights and the client's examples.

A sequence of one element holds all examples of a client: TFF asks for a sequence, and iterating over a longer one is
what makes TFF slow. The model is derived from the Keras model of the task, whose variables are replaced by tensors, so
that no variable is created or assigned in a round.
"""

import collections
from collections.abc import Callable, Sequence
import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models import functional_model
from models import task as task_lib
from tff_tasks.population import client_data
from tff_tasks.runtime import xla

Weights = Sequence[tf.Tensor]
# (initial weights, weights, steps) -> steps: what an algorithm makes of the step that SGD would subtract from the
# weights, which is the learning rate times the gradient.
Adjust = Callable[[Weights, Weights, Weights], Weights]


@dataclasses.dataclass(frozen=True)
class LocalTraining:
  """How a client trains in one round.

  Attributes:
    learning_rate: Of plain SGD.
    batch_size: Examples a step.
    epochs: Passes over the examples, each in an order of its own.
  """

  learning_rate: float
  batch_size: int
  epochs: int


def dataset_type(schema: schema_lib.Schema) -> tff.SequenceType:
  """Returns the type of a client's data: a sequence of one `ClientDataset`."""
  return tff.SequenceType(
    client_data.ClientDataset(
      tff.TensorType(np.dtype(schema.feature.dtype).type, (None, *schema.feature.shape)),
      tff.TensorType(np.int32),
      tff.TensorType(np.dtype(schema.label.dtype).type, (None, *schema.label.shape)),
      tff.TensorType(np.int32),
      tff.TensorType(np.int32, (2, 2)),
    )
  )


def take_steps(initial: Weights, weights: Weights, steps: Weights) -> Weights:
  """Returns the steps of plain SGD as they are."""
  del initial, weights
  return steps


_take_steps = functools.partial(take_steps, ())


@dataclasses.dataclass(frozen=True)
class LocalSgd:
  """Local SGD on one client's dataset: a step a batch, the last batch of an epoch filled up with what does not count.

  The learning rate scales the gradient of the logits, once, and backpropagation is linear in that.

  Attributes:
    model: What is trained.
    training: How.
    dataset: On what, as tensors.
    first_answer: `Schema.first_answer`.
    adjust: What becomes of each step: `(weights, steps) -> steps`.
  """

  model: functional_model.FunctionalModel
  training: LocalTraining
  dataset: client_data.ClientDataset
  first_answer: int = 0
  adjust: Callable[[Weights, Weights], Weights] = _take_steps

  def run(self, weights: Weights) -> tuple[list[tf.Tensor], task_lib.Sums]:
    """Returns the trained weights, and the sums of what each batch measured before its step."""
    begin = list(weights), task_lib.Sums(*(tf.zeros([]) for _ in task_lib.Sums._fields))
    if self.training.epochs == 1:
      return self._run_epoch(tf.constant(0), *begin)
    return _repeat(self.training.epochs, self._run_epoch, begin)

  def _shuffle(self, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the numbers of the examples in the random order of an epoch, followed by the rest of the capacity."""
    seed = tf.random.experimental.stateless_fold_in(self.dataset.seeds[0], epoch, alg='philox')
    capacity = tf.shape(self.dataset.labels)[0]
    bits = tf.random.stateless_uniform([capacity], seed, None, None, tf.uint32, alg='philox')
    keys = tf.cast(tf.bitwise.right_shift(bits, tf.constant(1, tf.uint32)), tf.int32)
    return tf.math.top_k(tf.where(tf.range(capacity) < self.dataset.num_examples, keys, -1), capacity).indices

  def _run_epoch(
    self, epoch: tf.Tensor, weights: list[tf.Tensor], totals: task_lib.Sums
  ) -> tuple[list[tf.Tensor], task_lib.Sums]:
    places, labels = self._batches(epoch)
    steps = (self.dataset.num_examples + self.training.batch_size - 1) // self.training.batch_size

    def step(number: tf.Tensor, *current: Any) -> tuple[list[tf.Tensor], task_lib.Sums]:
      features = tf.gather(self.dataset.features, tf.gather(places, number))
      return self._step(features, tf.cast(tf.gather(labels, number), tf.int32), *current)

    return _repeat(steps, step, (weights, totals))

  def _batches(self, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the features of each batch of an epoch are, int32 `[batches, batch_size]`, and its labels.

    What is behind the examples may be no numbers. It is replaced by the last example, with labels that do not count.
    """
    order, number = self._shuffle(epoch), tf.range(tf.shape(self.dataset.labels)[0])
    examples = tf.gather(order, tf.minimum(number, tf.maximum(self.dataset.num_examples - 1, 0)))
    labels = tf.gather(self.dataset.labels, examples)
    counts = tf.reshape(number < self.dataset.num_examples, [-1] + [1] * (labels.shape.rank - 1))
    labels = tf.where(counts, labels, schema_lib.IGNORED_LABEL)
    places, size = self.dataset.first + examples, self.training.batch_size
    return tf.reshape(places, [-1, size]), tf.reshape(labels, [-1, size, *labels.shape[1:]])

  def _step(
    self, features: tf.Tensor, labels: tf.Tensor, weights: list[tf.Tensor], totals: task_lib.Sums
  ) -> tuple[list[tf.Tensor], task_lib.Sums]:
    with tf.GradientTape() as tape:
      tape.watch(weights)
      logits = self.model(weights, features)
    sums, by_logits = task_lib.sums_and_gradient(labels, logits, self.first_answer)
    steps = tape.gradient(logits, weights, output_gradients=self.training.learning_rate * by_logits)
    steps = self.adjust(weights, list(map(tf.convert_to_tensor, steps)))
    trained = [weight - step for weight, step in zip(weights, steps, strict=True)]
    return trained, task_lib.Sums(*(a + b for a, b in zip(totals, sums, strict=True)))


def _repeat(times: tf.Tensor | int, body: Callable[..., Any], state: tuple[Any, ...]) -> Any:
  """Returns the state after `state = body(number, *state)` for each number below `times`."""
  return tf.while_loop(
    lambda number, *_: number < times,
    lambda number, *state: (number + 1, *body(number, *state)),
    (tf.constant(0), *state),
    parallel_iterations=1,
  )[1:]


def build_client_work(
  model: functional_model.FunctionalModel,
  weights_type: tff.StructType,
  schema: schema_lib.Schema,
  training: LocalTraining,
  adjust: Adjust = take_steps,
) -> tff.learning.templates.ClientWorkProcess:
  """Builds the client work of algorithms whose clients run local SGD, each step adjusted.

  The update is `(delta=initial minus trained weights, rounding_seed)`; the measurements are sums over the cohort, less
  the clients whose loss is not finite.
  """
  data_type = dataset_type(schema)

  @tff.tensorflow.computation(weights_type, data_type)
  def train(model_weights: Any, sequence: tf.data.Dataset) -> Any:
    dataset = sequence.get_single_element()
    initial = list(model_weights.trainable)
    with xla.loops():
      sgd = LocalSgd(model, training, dataset, schema.first_answer, functools.partial(adjust, initial))
      trained, sums = sgd.run(initial)
    delta = tuple(before - after for before, after in zip(initial, trained, strict=True))
    update = collections.OrderedDict(delta=delta, rounding_seed=dataset.seeds[1])
    measured = {name: tf.where(tf.math.is_finite(sums.loss), value, 0.0) for name, value in sums._asdict().items()}
    return tff.learning.templates.ClientResult(update, tf.constant(1.0)), collections.OrderedDict(measured)

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_value((), tff.SERVER)

  @tff.federated_computation(
    initialize.type_signature.result,
    tff.FederatedType(weights_type, tff.CLIENTS),
    tff.FederatedType(data_type, tff.CLIENTS),
  )
  def next_round(state: Any, model_weights: Any, dataset: Any) -> Any:
    result, sums = tff.federated_map(train, (model_weights, dataset))
    return tff.templates.MeasuredProcessOutput(state, result, tff.federated_sum(sums))

  return tff.learning.templates.ClientWorkProcess(initialize, next_round)


def build_finalizer(
  server_optimizer: tff.learning.optimizers.Optimizer, weights_type: tff.StructType
) -> tff.learning.templates.FinalizerProcess:
  """Builds the server's part: its optimizer takes the mean update as a gradient."""
  return tff.learning.templates.build_apply_optimizer_finalizer(server_optimizer, weights_type)
