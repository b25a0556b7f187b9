"""A task of one's own: next character by causal convolutions, for a phone that has no time for recurrent steps.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/causal_convolutions \
    --task=examples.extensions.causal_convolutions:TASK

Each position sees itself and those before it, 2 to the number of layers in all. The file has a handful of operations,
where that of a recurrent layer has some for every step.
"""

import tensorflow as tf

from contracts import schema as schema_lib
from models import task

_LAYERS = 4


def build_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds embedding -> causal convolutions of `model_size` channels, each added to its input -> a logit per class.

  There is no recurrent layer to `unroll`.

  Raises:
    ValueError: If the examples are no sequences of classes.
  """
  del unroll
  if not schema.is_sequence:
    raise ValueError(
      f'Expected examples with a label for each position, found labels of shape {list(schema.label.shape)}: choose '
      'another --task for these shards.'
    )
  codes = tf.keras.Input(schema.feature.shape, batch_size=batch_size, dtype=tf.int32, name=schema.feature.name)
  hidden = tf.keras.layers.Embedding(schema.num_classes, model_size, name='embedding')(codes)
  for index in range(_LAYERS):
    convolution = tf.keras.layers.Conv1D(
      model_size, 2, padding='causal', dilation_rate=2**index, activation='relu', name=f'convolution_{index}'
    )
    hidden = tf.keras.layers.Add(name=f'sum_{index}')([hidden, convolution(hidden)])
  logits = tf.keras.layers.Dense(schema.num_classes, name='logits')(hidden)
  return tf.keras.Model(codes, logits, name='causal_convolutions')


TASK = task.Task('causal_convolutions', build_model, default_size=48)
