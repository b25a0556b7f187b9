"""What follows in a sequence: the recurrent model that characters and words share."""

import tensorflow as tf

from contracts import schema as schema_lib


def build_model(
  schema: schema_lib.Schema, model_size: int, embedding_size: int, unroll: bool, batch_size: int | None
) -> tf.keras.Model:
  """Builds embedding -> GRU of `model_size` units -> a logit per class, at every position.

  `RNN(GRUCell)` rather than `GRU`: the same weights and numbers, without the layer's hidden choice between a CPU and a
  GPU kernel, which neither XLA nor TFLite follows.
  """
  codes = tf.keras.Input(schema.feature.shape, batch_size=batch_size, dtype=tf.int32, name=schema.feature.name)
  # Of unit length, more or less: from Keras' default, ten times smaller, it takes many noisy rounds to grow.
  initializer = tf.keras.initializers.RandomNormal(stddev=embedding_size**-0.5)
  embedded = tf.keras.layers.Embedding(schema.num_classes, embedding_size, initializer, name='embedding')(codes)
  cell = tf.keras.layers.GRUCell(model_size)
  hidden = tf.keras.layers.RNN(cell, return_sequences=True, unroll=unroll, name='gru')(embedded)
  logits = tf.keras.layers.Dense(schema.num_classes, name='logits')(hidden)
  return tf.keras.Model(codes, logits, name=schema.task)
