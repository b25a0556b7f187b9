"""Handwriting: 28x28 grey characters by writer, with the small CNN of the federated EMNIST papers."""

import tensorflow as tf

from contracts import schema as schema_lib
from models import task

# What two convolutions of 3x3 and two pools of 2x2 leave a pixel of.
_MIN_SIZE = 10


def build_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds two convolutions with pooling -> dense of `model_size` units -> a logit per character.

  The input is uint8-valued ink on paper as float32 in [0, 255], white at 255; it is scaled inside, so that the device
  feeds what its camera gives. There is no recurrent layer to `unroll`.

  Raises:
    ValueError: If the images are too small for that.
  """
  del unroll
  size = schema.feature.shape[:2]
  if len(size) < 2 or min(size) < _MIN_SIZE:
    found = 'x'.join(map(str, size))
    raise ValueError(f'Expected images of at least {_MIN_SIZE}x{_MIN_SIZE}, found {found}: preprocess larger ones.')
  image = tf.keras.Input(schema.feature.shape, batch_size=batch_size, dtype=tf.float32, name=schema.feature.name)
  hidden = tf.keras.layers.Rescaling(-1 / 255, offset=1.0, name='ink')(image)
  hidden = tf.keras.layers.Reshape((*schema.feature.shape[:2], 1), name='channel')(hidden)
  for index, filters in enumerate((16, 32)):
    hidden = tf.keras.layers.Conv2D(filters, 3, activation='relu', name=f'convolution_{index}')(hidden)
    hidden = tf.keras.layers.MaxPooling2D(name=f'pool_{index}')(hidden)
  hidden = tf.keras.layers.Flatten(name='flat')(hidden)
  hidden = tf.keras.layers.Dense(model_size, activation='relu', name='dense')(hidden)
  logits = tf.keras.layers.Dense(schema.num_classes, name='logits')(hidden)
  return tf.keras.Model(image, logits, name='handwriting')


TASK = task.Task('handwriting', build_model, default_size=64)
