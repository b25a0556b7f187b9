"""Next character: the field's Shakespeare task, standing in for a phone keyboard."""

import tensorflow as tf

from models import task
from pipelines import schema as schema_lib

_EMBEDDING_SIZE = 16
# Of unit length, more or less: from Keras' default, ten times smaller, it takes many noisy rounds to grow.
_EMBEDDING_STDDEV = _EMBEDDING_SIZE**-0.5


def build_model(
    schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds embedding -> GRU of `model_size` units -> a logit per character.

  `RNN(GRUCell)` rather than `GRU`: the same weights and numbers, without the layer's hidden choice between a CPU and a
  GPU kernel, which neither XLA nor TFLite follows.
  """
  tokens = tf.keras.Input(schema.feature.shape, batch_size=batch_size, dtype=tf.int32, name=schema.feature.name)
  initializer = tf.keras.initializers.RandomNormal(stddev=_EMBEDDING_STDDEV)
  embedding = tf.keras.layers.Embedding(schema.num_classes, _EMBEDDING_SIZE, initializer, name='embedding')
  embedded = embedding(tokens)
  hidden = tf.keras.layers.RNN(tf.keras.layers.GRUCell(model_size), return_sequences=True, unroll=unroll, name='gru')(
      embedded
  )
  logits = tf.keras.layers.Dense(schema.num_classes, name='logits')(hidden)
  return tf.keras.Model(tokens, logits, name='next_character')


TASK = task.Task('next_character', build_model, default_size=64, prefers_xla=True)
