"""What qat, clustered and pruned share: a few more epochs with layers of tensorflow-model-optimization around ours.

The released model is the start. All randomness has a fixed seed and all operations are deterministic, so that the same
run and examples give the same file in every fresh process of one machine.
"""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from export import parity
from export.variants import base
from models import unsupported

if TYPE_CHECKING:
  import tensorflow as tf

BATCH_SIZE = 32
EPOCHS = 3
# Of a tensor that is worth wrapping: the converter makes no smaller one smaller either, and positions of the few values
# that are not zero would take more bytes than the zeros.
_MIN_WEIGHTS = 1_024
_SEED = 0


class FineTuned(base.Variant):
  """A variant whose weights learn from examples; derive from this.

  Attributes:
    technique: What its layers have to support, for messages.
    learning_rate: Of Adam. It is small: the model is trained, and the examples may be few and of others.
  """

  # Its weights are others than Keras'. The bound refuses what is broken; the accuracy shows what is better.
  bounds = parity.Bounds(0.8, None)
  calibration = 'released'
  max_examples = 5_000
  learned = 'the weights'
  technique: str
  learning_rate: float

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    import tensorflow as tf

    examples = base.require_examples(calibration)
    self.check_layers(model)
    tf.keras.utils.set_random_seed(_SEED)
    tf.config.experimental.enable_op_determinism()
    start = rebuild(model, None)
    wrapped = self.wrap(start, examples)
    train(wrapped, examples, self.learning_rate, self.callbacks())
    return self.finish(wrapped).convert()

  @abc.abstractmethod
  def supports(self, layer: 'tf.keras.layers.Layer') -> bool:
    """Returns whether a layer with weights can be wrapped."""

  @abc.abstractmethod
  def wrap(self, model: 'tf.keras.Model', examples: parity.Examples) -> 'tf.keras.Model':
    """Returns the model with layers that learn what the file needs.

    Args:
      model: The released model, for batches of any size.
      examples: What it will be trained on.
    """

  @abc.abstractmethod
  def finish(self, model: 'tf.keras.Model') -> 'tf.lite.TFLiteConverter':
    """Returns the converter of the trained model."""

  def callbacks(self) -> list[Any]:
    """Returns what Keras calls during training."""
    return []

  def check_layers(self, model: 'tf.keras.Model') -> None:
    """Refuses a model with weights in layers that the technique does not support.

    Raises:
      Unsupported: Naming the layers and their kinds.
    """
    others = [layer for layer in model.layers if layer.weights and not self.supports(layer)]
    if others:
      found = ', '.join(f'{layer.name} of kind {_kind(layer)}' for layer in others)
      raise unsupported.Unsupported(
        f'Expected layers that {self.technique} supports, found {found}: take int8 or dynamic_range for this model.'
      )


def rebuild(model: 'tf.keras.Model', batch_size: int | None) -> 'tf.keras.Model':
  """Returns a copy with the same weights for batches of another size.

  Args:
    model: The model.
    batch_size: The size; None for any.
  """
  import tensorflow as tf

  inputs = tf.keras.Input(
    model.input.shape[1:], batch_size=batch_size, dtype=model.input.dtype, name=model.input_names[0]
  )
  copy = tf.keras.models.clone_model(model, input_tensors=inputs)
  copy.set_weights(model.get_weights())
  return copy


def wrap_large(
  model: 'tf.keras.Model', wrap: 'Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer]'
) -> 'tf.keras.Model':
  """Returns a copy whose layers with a large tensor are wrapped."""
  import tensorflow as tf

  def clone(layer: 'tf.keras.layers.Layer') -> 'tf.keras.layers.Layer':
    return wrap(layer) if any(weight.shape.num_elements() >= _MIN_WEIGHTS for weight in layer.weights) else layer

  return tf.keras.models.clone_model(model, clone_function=clone)


def train(model: 'tf.keras.Model', examples: parity.Examples, learning_rate: float, callbacks: list[Any]) -> None:
  """Trains on the labels that count, in an order that is drawn once."""
  import tensorflow as tf

  order = np.random.default_rng(_SEED).permutation(len(examples.labels))
  features = examples.features[order].astype(model.input.dtype.as_numpy_dtype)
  labels = examples.labels[order]
  loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  model.compile(tf.keras.optimizers.Adam(learning_rate), loss)
  model.fit(
    features,
    np.maximum(labels, 0),
    sample_weight=(labels >= 0).astype(np.float32),
    batch_size=BATCH_SIZE,
    epochs=EPOCHS,
    shuffle=False,
    callbacks=callbacks,
    verbose=0,
  )


def _kind(layer: Any) -> str:
  cell = getattr(layer, 'cell', None)
  return f'{type(layer).__name__} of {type(cell).__name__}' if cell else type(layer).__name__
