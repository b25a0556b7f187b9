"""The released model as a module that trains itself on a device: its signatures, of built-in operations only."""

from collections.abc import Callable, Collection, Mapping, Sequence
import functools
import re
from typing import Any

import tensorflow as tf

from contracts import personalization
from contracts import released_model
from export import operations
from export.on_device import gradients
from models import functional_model
from models import registry
from models import unsupported

# Of a batch whose labels do not count: no gradient, rather than no number.
_NO_LABELS = 1e-30
# Of a recurrent layer that is not unrolled: its gradient has lists, which devices do not have.
_LOOPS = ('While', 'StatelessWhile')
# TensorFlow writes no space before the name.
_NO_GRADIENT = re.compile(r"operation ?'([^']+)' \(op type: (\w+)\)")


class TrainingModule(tf.Module):
  """A model with the signatures of a training file.

  Attributes:
    weights: The variables, in the order of `keras.Model.get_weights`.
    functions: The signatures by name.
    layer_names: The names of the layers.

  Args:
    released: The released model.
    task: What `released_model.check_task` returned.
    tuning: How a device trains it.

  Raises:
    Unsupported: If it has a layer that has no gradient.
    ValueError: If the task does not fit the model.
  """

  def __init__(self, released: released_model.ReleasedModel, task: str, tuning: personalization.FineTuning) -> None:
    super().__init__()
    self.weights = [tf.Variable(weight, name=f'w{index}') for index, weight in enumerate(released.weights)]
    build = functools.partial(registry.find(task).build, released.schema, released.model_size)
    # First of all: layers without a name of their own are then called as in a graph.
    keras = build(False, None)
    # Called with a batch of a known size, all of its operations have shapes that are known.
    model = functional_model.FunctionalModel(functools.partial(build, True, None), seed=1)
    layers = tuning.local_layers
    self._trained = model.indices('local_layers', layers) if layers else list(range(len(self.weights)))
    feature, label = released.schema.feature, released.schema.label
    self.layer_names = [layer.name for layer in keras.layers]
    dtype = keras.input.dtype
    self.functions = {
      'train': self._train(model).get_concrete_function(
        x=tf.TensorSpec([tuning.batch_size, *feature.shape], dtype),
        y=tf.TensorSpec([tuning.batch_size, *label.shape], tf.int32),
        weight=tf.TensorSpec([tuning.batch_size]),
        lr=tf.TensorSpec([]),
      ),
      'infer': self._infer(model).get_concrete_function(x=tf.TensorSpec([1, *feature.shape], dtype)),
      'get_weights': self._get_weights().get_concrete_function(),
      'set_weights': self._set_weights().get_concrete_function(
        **{_name(index): tf.TensorSpec(weight.shape) for index, weight in enumerate(self.weights)}
      ),
      'reset': self._reset(released).get_concrete_function(),
    }
    loops = self.find_names(_LOOPS)
    if loops:
      raise unsupported.Unsupported(describe(loops, self.layer_names))

  def find_names(self, kinds: Collection[str]) -> dict[str, list[str]]:
    """Returns the names of the operations of some kinds that training has, by kind."""
    names: dict[str, list[str]] = {}
    for name, kind in operations.walk_graph(self.functions['train'].graph.as_graph_def()):
      if kind in kinds:
        names.setdefault(kind, []).append(name)
    return names

  def _read(self) -> list[tf.Tensor]:
    return [weight.read_value() for weight in self.weights]

  def _train(self, model: Callable[..., tf.Tensor]) -> Any:
    @tf.function(autograph=False)
    def train(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, lr: tf.Tensor) -> Mapping[str, tf.Tensor]:
      weights = self._read()
      with gradients.built_in():
        logits = model(weights, x)
      loss, by_logits = measure(y, weight, logits)
      trained = [weights[index] for index in self._trained]
      # The rate scales the gradient by the logits, as in a client's step of a round.
      steps = self._differentiate(logits, trained, lr * by_logits)
      for index, step in zip(self._trained, steps, strict=True):
        self.weights[index].assign_sub(step)
      return {'loss': loss}

    return train

  def _differentiate(self, logits: tf.Tensor, weights: list[tf.Tensor], by_logits: tf.Tensor) -> list[tf.Tensor]:
    try:
      found = tf.gradients(logits, weights, by_logits, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    except LookupError as error:
      match = _NO_GRADIENT.search(str(error))
      if not match:
        raise
      raise unsupported.Unsupported(describe({match[2]: [match[1]]}, self.layer_names)) from error
    return [_to_dense(gradient, weight) for gradient, weight in zip(found, weights, strict=True)]

  def _infer(self, model: Callable[..., tf.Tensor]) -> Any:
    @tf.function(autograph=False)
    def infer(x: tf.Tensor) -> Mapping[str, tf.Tensor]:
      return {'logits': model(self._read(), x, training=False)}

    return infer

  def _get_weights(self) -> Any:
    @tf.function(autograph=False)
    def get_weights() -> Mapping[str, tf.Tensor]:
      return {_name(index): weight for index, weight in enumerate(self._read())}

    return get_weights

  def _set_weights(self) -> Any:
    @tf.function(autograph=False)
    def set_weights(**weights: tf.Tensor) -> Mapping[str, tf.Tensor]:
      for index, weight in enumerate(self.weights):
        weight.assign(weights[_name(index)])
      return {'done': tf.constant(1)}

    return set_weights

  def _reset(self, released: released_model.ReleasedModel) -> Any:
    @tf.function(autograph=False)
    def reset() -> Mapping[str, tf.Tensor]:
      for weight, initial in zip(self.weights, released.weights, strict=True):
        weight.assign(initial)
      return {'done': tf.constant(1)}

    return reset


def measure(labels: tf.Tensor, weight: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the mean loss of `models.task` over the labels that count, and its gradient by the logits.

  Args:
    labels: int32 `[batch, ...]`; those below 0 do not count.
    weight: float32 `[batch]`, of each example: 1, or 0 for what fills up the batch.
    logits: float32 `[batch, ..., num_classes]`.
  """
  num_classes = logits.shape[-1]
  rows, flat = tf.reshape(logits, [-1, num_classes]), tf.reshape(labels, [-1])
  counts = tf.cast(labels >= 0, tf.float32) * tf.reshape(weight, [-1] + [1] * (len(labels.shape) - 1))
  is_counted = tf.reshape(counts, [-1]) > 0
  shares = tf.reshape(counts, [-1]) / tf.maximum(tf.reduce_sum(counts), _NO_LABELS)
  shifted = rows - tf.reduce_max(rows, axis=1, keepdims=True)
  powers = tf.exp(shifted)
  total = tf.reduce_sum(powers, axis=1, keepdims=True)
  is_answer = tf.one_hot(tf.maximum(flat, 0), num_classes)
  losses = tf.math.log(total)[:, 0] - tf.reduce_sum(shifted * is_answer, axis=1)
  by_rows = (powers / total - is_answer) * shares[:, tf.newaxis]
  # What does not count may be NaN, and 0 times NaN is NaN.
  by_rows = tf.where(is_counted[:, tf.newaxis], by_rows, tf.zeros_like(by_rows))
  losses = tf.where(is_counted, losses * shares, tf.zeros_like(losses))
  return tf.reduce_sum(losses), tf.reshape(by_rows, logits.shape)


def describe(names: Mapping[str, Sequence[str]], layers: Collection[str]) -> str:
  """Returns why a model cannot be trained.

  Args:
    names: Of operations that a device's runtime has not, or that have no gradient, by kind.
    layers: The names of the layers.
  """
  found = ', '.join(operations.describe(kind, operations.find_layers(each, layers)) for kind, each in names.items())
  return (
    f'Expected layers whose gradients are made of built-in operations, found others for {found}: list no train in '
    '--variants, or replace these layers'
  )


def _to_dense(gradient: Any, weight: tf.Tensor) -> tf.Tensor:
  """Returns the gradient of a table, of which a batch reads some rows, as a tensor."""
  if not isinstance(gradient, tf.IndexedSlices):
    return gradient
  return tf.scatter_nd(gradient.indices[:, tf.newaxis], gradient.values, weight.shape)


def _name(index: int) -> str:
  return f'w{index}'
