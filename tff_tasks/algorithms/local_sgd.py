"""Local training: the steps that a client takes in a round, as one plain function of weights and its examples.

The model is derived from the Keras model of the task, whose variables are replaced by tensors, so that no variable is
created or assigned in a round.
"""

import collections
from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models import task as task_lib
from tff_tasks.population import client_data

Weights = Sequence[tf.Tensor]
MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class LocalTraining:
  """How a client trains in one round.

  Attributes:
    learning_rate: Of the first round.
    batch_size: Examples a step.
    epochs: Passes over the examples, each in an order of its own.
    optimizer: One of `config.CLIENT_OPTIMIZERS`; its state begins anew in each round.
    schedule: One of `config.SCHEDULES`: the learning rate by round.
    total_rounds: The rounds that the schedule goes through.
    max_gradient_norm: L2 bound of the gradient of each step, or None.
    is_by_client: Whether each client has epochs and a batch size of its own, `ClientDataset.work`; `batch_size` is the
      largest of those, and `epochs` does not matter.
  """

  learning_rate: float
  batch_size: int
  epochs: int
  optimizer: str = 'sgd'
  schedule: str = 'constant'
  total_rounds: int = 1
  max_gradient_norm: float | None = None
  is_by_client: bool = False

  def build_optimizer(self, learning_rate: Any) -> tff.learning.optimizers.Optimizer:
    """Returns TFF's optimizer of that name.

    Args:
      learning_rate: Of this round, a float or a tensor.
    """
    if self.optimizer == 'adam':
      return tff.learning.optimizers.build_adam(learning_rate)
    return tff.learning.optimizers.build_sgdm(learning_rate, MOMENTUM if self.optimizer == 'momentum' else None)


# The weights, the state of the optimizer, and the sums of what was measured.
_State = tuple[list[tf.Tensor], Any, task_lib.Sums]


@dataclasses.dataclass(frozen=True)
class LocalSgd:
  """Local SGD on one client's dataset: a step a batch, the last batch of an epoch is padded.

  Attributes:
    model: What is trained: `(weights, features) -> logits`.
    training: How.
    dataset: On what, as tensors.
    first_answer: `Schema.first_answer`.
    learning_rate: Of this round; None for that of the training.
    adjust: What becomes of the gradient of each step: `(weights, gradients) -> gradients`; None if nothing does.
    fixed_state: A state of the optimizer that every step begins with; None for one that goes from step to step.
    examples: int32 `[capacity]`, which of the dataset's examples these are: the first `num_examples` count; None for
      all of them in their order.
  """

  model: Callable[[Weights, tf.Tensor], tf.Tensor]
  training: LocalTraining
  dataset: client_data.ClientDataset
  first_answer: int = 0
  learning_rate: Any = None
  adjust: Callable[[Weights, Weights], Weights] | None = None
  fixed_state: Any = None
  examples: tf.Tensor | None = None

  def run(
    self, weights: Weights, trained_indices: Sequence[int] | None = None
  ) -> tuple[list[tf.Tensor], task_lib.Sums]:
    """Returns the trained weights, and the sums of what each batch measured before its step.

    Args:
      weights: To begin with.
      trained_indices: Of those that are trained, while the others stay as they are; None for all.
    """
    if trained_indices is not None:
      return self._run_some(weights, trained_indices)
    begin: _State = list(weights), self._initial_state(weights), _no_sums()
    if self.training.epochs == 1 and not self.training.is_by_client:
      trained, _, sums = self._run_epoch(tf.constant(0), *begin)
    else:
      trained, _, sums = repeat(self._epochs, self._run_epoch, begin)
    return trained, sums

  def _run_some(self, weights: Weights, indices: Sequence[int]) -> tuple[list[tf.Tensor], task_lib.Sums]:
    def complete(some: Weights) -> list[tf.Tensor]:
      replaced = dict(zip(indices, some, strict=True))
      return [replaced.get(index, weight) for index, weight in enumerate(weights)]

    # No gradient, bound or optimizer then knows of the others.
    of_some = dataclasses.replace(self, model=lambda some, features: self.model(complete(some), features))
    trained, sums = of_some.run([weights[index] for index in indices])
    return complete(trained), sums

  def halves(self) -> tuple['LocalSgd', 'LocalSgd']:
    """Returns local SGD on two random halves of the examples, new ones in each round.

    If the number of examples is odd, the second half has one more.
    """
    order, number = self._shuffle(tf.constant(-1)), self.dataset.num_examples  # No epoch has that order.
    half = number // 2
    first, second = (self.dataset._replace(num_examples=count) for count in (half, number - half))
    return (
      dataclasses.replace(self, dataset=first, examples=order),
      dataclasses.replace(self, dataset=second, examples=tf.roll(order, -half, 0)),
    )

  def batches(self) -> tf.data.Dataset:
    """Returns the batches of all epochs, in the order of `run`, without padding: `(features, int32 labels)`."""

    def of_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
      examples = self._order(tf.cast(epoch, tf.int32))[: self.dataset.num_examples]
      features = tf.gather(self.dataset.features, self.dataset.first + examples)
      labels = tf.cast(tf.gather(self.dataset.labels, examples), tf.int32)
      return tf.data.Dataset.from_tensor_slices((features, labels)).batch(tf.cast(self._batch_size, tf.int64))

    return tf.data.Dataset.range(tf.cast(self._epochs, tf.int64)).flat_map(of_epoch)

  @property
  def num_steps(self) -> tf.Tensor:
    """int32, the steps that `run` takes."""
    return self._epochs * self._steps_of_epoch

  def full_gradient(self, weights: Weights) -> list[tf.Tensor]:
    """Returns the gradient of the mean loss over all labels of the client."""
    indices, labels = self._batches(tf.constant(0))

    def add(number: tf.Tensor, total: list[tf.Tensor], count: tf.Tensor) -> tuple[Any, ...]:
      gradients, sums = self._gradients(*self._batch(number, indices, labels), list(weights))
      return [one + sums.count * other for one, other in zip(total, gradients, strict=True)], count + sums.count

    begin = [tf.zeros_like(weight) for weight in weights], tf.zeros([])
    total, count = repeat(self._steps_of_epoch, add, begin)
    return [tf.math.divide_no_nan(gradient, count) for gradient in total]

  @property
  def _rate(self) -> Any:
    return self.training.learning_rate if self.learning_rate is None else self.learning_rate

  @property
  def _is_plain(self) -> bool:
    """Whether a step is the learning rate times the gradient: the rate then scales the logits' gradient, once."""
    return self.training.optimizer == 'sgd' and self.adjust is None and self.training.max_gradient_norm is None

  @property
  def _epochs(self) -> Any:
    return self.dataset.work[0] if self.training.is_by_client else self.training.epochs

  @property
  def _batch_size(self) -> Any:
    return self.dataset.work[1] if self.training.is_by_client else self.training.batch_size

  @property
  def _steps_of_epoch(self) -> tf.Tensor:
    size = self._batch_size
    return (self.dataset.num_examples + size - 1) // size

  def _initial_state(self, weights: Weights) -> Any:
    if self._is_plain or self.fixed_state is not None:
      return ()
    specs = [tf.TensorSpec(weight.shape, weight.dtype) for weight in weights]
    state = self.training.build_optimizer(self._rate).initialize(specs)
    return tf.nest.map_structure(tf.convert_to_tensor, state)

  def _shuffle(self, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the numbers of the examples in the random order of an epoch, followed by the rest of the capacity."""
    seed = tf.random.experimental.stateless_fold_in(self.dataset.seeds[0], epoch, alg='philox')
    capacity = tf.shape(self.dataset.labels)[0]
    bits = tf.random.stateless_uniform([capacity], seed, None, None, tf.uint32, alg='philox')
    keys = tf.cast(tf.bitwise.right_shift(bits, tf.constant(1, tf.uint32)), tf.int32)
    return tf.math.top_k(tf.where(tf.range(capacity) < self.dataset.num_examples, keys, -1), capacity).indices

  def _order(self, epoch: tf.Tensor) -> tf.Tensor:
    """Returns the examples in the random order of an epoch, int32 `[capacity]`, followed by the last one."""
    order, number = self._shuffle(epoch), tf.range(tf.shape(self.dataset.labels)[0])
    numbers = tf.gather(order, tf.minimum(number, tf.maximum(self.dataset.num_examples - 1, 0)))
    return numbers if self.examples is None else tf.gather(self.examples, numbers)

  def _run_epoch(self, epoch: tf.Tensor, *state: Any) -> _State:
    indices, labels = self._batches(epoch)
    return repeat(
      self._steps_of_epoch, lambda number, *current: self._step(*self._batch(number, indices, labels), *current), state
    )

  def _batch(self, number: tf.Tensor, indices: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    if self.training.is_by_client:
      indices, labels = self._cut(number, indices, labels)
    else:
      indices, labels = tf.gather(indices, number), tf.gather(labels, number)
    return tf.gather(self.dataset.features, indices), tf.cast(labels, tf.int32)

  def _cut(self, number: tf.Tensor, indices: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a batch of the client's own size, filled up to the static one with labels that do not count."""
    position = tf.range(self.training.batch_size)
    examples = number * self._batch_size + position
    counts = (position < self._batch_size) & (examples < self.dataset.num_examples)
    examples = tf.where(counts, examples, 0)
    counts = tf.reshape(counts, [-1] + [1] * (labels.shape.rank - 1))
    return tf.gather(indices, examples), tf.where(counts, tf.gather(labels, examples), schema_lib.IGNORED_LABEL)

  def _batches(self, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the features of each batch of an epoch are, int32 `[batches, batch_size]`, and its labels.

    If batch sizes are the clients' own, `_batch` cuts the batches: where the features are, int32 `[capacity]`, and the
    labels are returned then. What is behind the examples may be no numbers. It is replaced by the last example, with
    labels that do not count.
    """
    examples, number = self._order(epoch), tf.range(tf.shape(self.dataset.labels)[0])
    labels = tf.gather(self.dataset.labels, examples)
    counts = tf.reshape(number < self.dataset.num_examples, [-1] + [1] * (labels.shape.rank - 1))
    labels = tf.where(counts, labels, schema_lib.IGNORED_LABEL)
    indices, size = self.dataset.first + examples, self.training.batch_size
    if self.training.is_by_client:
      return indices, labels
    return tf.reshape(indices, [-1, size]), tf.reshape(labels, [-1, size, *labels.shape[1:]])

  def _step(
    self, features: tf.Tensor, labels: tf.Tensor, weights: list[tf.Tensor], state: Any, totals: task_lib.Sums
  ) -> _State:
    gradients, sums = self._gradients(features, labels, weights, self._rate if self._is_plain else None)
    totals = task_lib.Sums(*(a + b for a, b in zip(totals, sums, strict=True)))
    if self._is_plain:
      return [weight - step for weight, step in zip(weights, gradients, strict=True)], state, totals
    if self.training.max_gradient_norm is not None:
      gradients, _ = tf.clip_by_global_norm(gradients, self.training.max_gradient_norm)
    if self.adjust:
      gradients = list(self.adjust(weights, gradients))
    optimizer = self.training.build_optimizer(self._rate)
    begin = state if self.fixed_state is None else collections.OrderedDict(self.fixed_state, learning_rate=self._rate)
    new_state, trained = optimizer.next(begin, weights, gradients)
    return list(trained), new_state if self.fixed_state is None else state, totals

  def _gradients(
    self, features: tf.Tensor, labels: tf.Tensor, weights: list[tf.Tensor], scale: Any = None
  ) -> tuple[list[tf.Tensor], task_lib.Sums]:
    """Returns the gradient of the mean loss of a batch, scaled, and the sums of what was measured."""
    with tf.GradientTape() as tape:
      tape.watch(weights)
      logits = self.model(weights, features)
    sums, by_logits = task_lib.sums_and_gradient(labels, logits, self.first_answer)
    by_logits = by_logits if scale is None else scale * by_logits
    gradients = tape.gradient(logits, weights, output_gradients=by_logits)
    return list(map(tf.convert_to_tensor, gradients)), sums


def _no_sums() -> task_lib.Sums:
  return task_lib.Sums(*(tf.zeros([]) for _ in task_lib.Sums._fields))


def repeat(times: tf.Tensor | int, body: Callable[..., Any], state: tuple[Any, ...]) -> Any:
  """Returns the state after `state = body(number, *state)` for each number below `times`."""
  return tf.while_loop(
    lambda number, *_: number < times,
    lambda number, *state: (number + 1, *body(number, *state)),
    (tf.constant(0), *state),
    parallel_iterations=1,
  )[1:]
