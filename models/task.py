"""What a task is: a Keras model for a schema, with the loss and the accuracy that both training and export use.

One of your own is an object such as this, in a module that can be imported. It is softmax regression for examples of
any shape. `--task=my_package.my_module:LINEAR` trains it:

    import tensorflow as tf
    from models import task

    def build_model(schema, model_size, unroll, batch_size):
      inputs = tf.keras.Input(schema.feature.shape, batch_size=batch_size, name=schema.feature.name)
      hidden = tf.keras.layers.Flatten()(inputs)
      return tf.keras.Model(inputs, tf.keras.layers.Dense(schema.num_classes)(hidden))

    LINEAR = task.Task('linear', build_model, default_size=1)

The loss is cross entropy, averaged over the labels that count. Beside it, accuracy is measured, and the `metrics` of
the task.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import NamedTuple

import tensorflow as tf

from contracts import schema as schema_lib


class Metric(NamedTuple):
  """A figure beside loss and accuracy: the mean of something over the labels that count.

  Attributes:
    name: Of the figure in run.json.
    of_rank: From the rank of the true answer among all answers, float32 from 1 on, to what is averaged.
  """

  name: str
  of_rank: Callable[[tf.Tensor], tf.Tensor]


# Of tasks whose device shows a list: ten answers are about a screen. The other is the mean reciprocal rank.
RANKING = (
  Metric('top_10_accuracy', lambda rank: tf.cast(rank <= 10, tf.float32)),
  Metric('mean_reciprocal_rank', lambda rank: 1 / rank),
)


@dataclasses.dataclass(frozen=True)
class Task:
  """A named kind of learning problem.

  Attributes:
    name: What it is called: by a schema that asks for it, in figures, in the names of exported files.
    build_model: `(schema, model_size, unroll, batch_size) -> tf.keras.Model` from features `[batch, ...]` to logits
      `[batch, ..., num_classes]`. `unroll` and `batch_size` change the graph, never the weights: the device wants
      recurrent layers unrolled and a batch of one. It makes all of its layers anew at each call. All weights are
      trained, and there is no Dropout.
    default_size: The `model_size` (width of the main layer) of a model of quickstart size.
    metrics: What is measured on held-out users beside loss and accuracy.
  """

  name: str
  build_model: Callable[[schema_lib.Schema, int, bool, int | None], tf.keras.Model]
  default_size: int
  metrics: tuple[Metric, ...] = ()

  def build(
    self, schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
  ) -> tf.keras.Model:
    """Returns what `build_model` returns.

    Raises:
      ValueError: If that is no model for examples of the schema.
    """
    model = self.build_model(schema, model_size, unroll, batch_size)
    if not isinstance(model, tf.keras.Model) or not model.inputs:
      raise ValueError(
        f'Expected build_model of {self.name} to return a model made from tf.keras.Input, found a '
        f'{type(model).__name__}: return tf.keras.Model(inputs, logits).'
      )
    name = schema.feature.name
    self._check_end('input', model.inputs, (batch_size, *schema.feature.shape), f'the features {name!r}')
    logits = (batch_size, *schema.label.shape, schema.num_classes)
    self._check_end('output', model.outputs, logits, f'a logit for each of {schema.num_classes} classes')
    last = model.layers[-1]
    if isinstance(last, tf.keras.layers.Softmax) or getattr(last, 'activation', None) is tf.keras.activations.softmax:
      raise ValueError(
        f'Expected logits from the model of {self.name}, found softmax in its last layer, {last.name}: remove it, the '
        'loss has it.'
      )
    return model

  def _check_end(self, kind: str, ends: Sequence[tf.Tensor], shape: tuple[int | None, ...], content: str) -> None:
    found = [list(end.shape) for end in ends]
    if found != [list(shape)]:
      raise ValueError(
        f'Expected a model of {self.name} with one {kind} of shape {list(shape)} ({content}; the first is batch_size), '
        f'found {", ".join(map(str, found))}: build it from schema and batch_size.'
      )


class Sums(NamedTuple):
  """Sums over the labels that count; ratios are left to whoever knows what to divide by."""

  loss: tf.Tensor
  correct: tf.Tensor
  count: tf.Tensor


def sums(labels: tf.Tensor, logits: tf.Tensor, first_answer: int = 0) -> Sums:
  """Sums cross entropy (nats), correct predictions and labels of each example, over the labels that are classes.

  Args:
    labels: Integers `[batch, ...]`; those below 0 (`IGNORED_LABEL`, `UNKNOWN_LABEL`) do not count.
    logits: Floats `[batch, ..., num_classes]`.
    first_answer: `Schema.first_answer`: the model's answer is the largest logit from this class on.

  Returns:
    `Sums` of three float32 tensors `[batch]`.
  """
  counts, losses, hits, _ = _measure(labels, logits, first_answer)
  positions = list(range(1, len(labels.shape)))
  # Chosen, not multiplied by zero: that would let a NaN through.
  counted = (tf.where(counts, value, 0.0) for value in (losses, hits, tf.ones_like(losses)))
  return Sums(*(tf.reduce_sum(tf.reshape(value, tf.shape(labels)), axis=positions) for value in counted))


def sums_of_metrics(
  metrics: Sequence[Metric], labels: tf.Tensor, logits: tf.Tensor, first_answer: int = 0
) -> list[tf.Tensor]:
  """Returns the sum of each metric over the labels of each example that count: float32 `[batch]`.

  Args:
    metrics: Which ones.
    labels: As in `sums`.
    logits: As in `sums`.
    first_answer: As in `sums`.
  """
  if not metrics:
    return []
  rows, flat = tf.reshape(logits, [-1, logits.shape[-1]])[:, first_answer:], tf.reshape(labels, [-1]) - first_answer
  own = tf.gather(rows, tf.maximum(flat, 0), axis=1, batch_dims=1)[:, tf.newaxis]
  # Of equal logits the first class is the answer, as it is for accuracy.
  is_first = tf.range(rows.shape[-1], dtype=flat.dtype) < flat[:, tf.newaxis]
  is_before = (rows > own) | tf.equal(rows, own) & is_first  # In a graph of its own, == would compare objects.
  ranks = 1 + tf.reduce_sum(tf.cast(is_before, tf.float32), axis=1)
  positions = list(range(1, len(labels.shape)))
  counted = (tf.where(flat >= 0, metric.of_rank(ranks), 0.0) for metric in metrics)
  return [tf.reduce_sum(tf.reshape(value, tf.shape(labels)), axis=positions) for value in counted]


def sums_and_gradient(labels: tf.Tensor, logits: tf.Tensor, first_answer: int = 0) -> tuple[Sums, tf.Tensor]:
  """Returns what `sums` adds up to over a batch, and the gradient of its mean loss with respect to the logits.

  In closed form, which spares the operations that differentiate `sums`.

  Args:
    labels: As in `sums`.
    logits: As in `sums`.
    first_answer: As in `sums`.

  Returns:
    `Sums` of three float32 scalars, and float32 of the shape of `logits`: zero if no label counts.
  """
  is_counted, losses, hits, gradients = _measure(labels, logits, first_answer)
  counts = tf.cast(is_counted, tf.float32)
  total = Sums(tf.reduce_sum(tf.math.multiply_no_nan(losses, counts)), tf.reduce_sum(hits), tf.reduce_sum(counts))
  shares = tf.math.divide_no_nan(counts, total.count)
  return total, tf.reshape(tf.math.multiply_no_nan(gradients, shares[:, tf.newaxis]), tf.shape(logits))


def _measure(labels: tf.Tensor, logits: tf.Tensor, first_answer: int) -> tuple[tf.Tensor, ...]:
  """Returns of each label, flat: whether it counts, its loss, 1 if it is predicted, and the gradient of its loss."""
  rows, flat = tf.reshape(logits, [-1, logits.shape[-1]]), tf.reshape(labels, [-1])
  losses, gradients = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=rows, labels=tf.maximum(flat, 0))
  answers = tf.argmax(rows[:, first_answer:], axis=-1, output_type=flat.dtype) + first_answer
  return flat >= 0, losses, tf.cast(tf.equal(answers, flat), tf.float32), gradients
