"""Classification: float32 numbers, as one vector or as a window over a time series, to one class."""

import tensorflow as tf

from contracts import schema as schema_lib
from models import task


def build_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds [two convolutions over time with pooling, if there is a time ->] dense of `model_size` units -> logits.

  The input is `[numbers]` or `[length, channels]`, of whatever length: convolutions and pools pad. There is no
  recurrent layer to `unroll`.

  Raises:
    ValueError: If the features have another number of dimensions.
  """
  del unroll
  shape = schema.feature.shape
  if len(shape) not in (1, 2):
    raise ValueError(f'Expected features of shape [numbers] or [length, channels], found {list(shape)}.')
  numbers = tf.keras.Input(shape, batch_size=batch_size, dtype=tf.float32, name=schema.feature.name)
  hidden = numbers if len(shape) == 1 else _convolve(numbers)
  hidden = tf.keras.layers.Dense(model_size, activation='relu', name='dense')(hidden)
  logits = tf.keras.layers.Dense(schema.num_classes, name='logits')(hidden)
  return tf.keras.Model(numbers, logits, name='classification')


def _convolve(series: tf.Tensor) -> tf.Tensor:
  hidden = series
  for index, filters in enumerate((16, 32)):
    convolution = tf.keras.layers.Conv1D(filters, 5, padding='same', activation='relu', name=f'convolution_{index}')
    hidden = tf.keras.layers.MaxPooling1D(padding='same', name=f'pool_{index}')(convolution(hidden))
  return tf.keras.layers.Flatten(name='flat')(hidden)


TASK = task.Task('classification', build_model, default_size=64)
