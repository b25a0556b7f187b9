"""What the clients of benchmarks.rounds train, and on what: ordinary Keras models, random examples."""

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from contracts import client_shards
from contracts import schema as schema_lib
from contracts import shard_format
from pipelines.shards import shard_writing

LEARNING_RATE = 0.05

layers = tf.keras.layers


@dataclasses.dataclass(frozen=True)
class Workload:
  """What a round does.

  Attributes:
    clients: How many take part.
    examples: The most that a client has.
    batch_size: Examples a step of SGD.
    schema: What an example holds.
    build_model: Returns a new Keras model.
    plan: What a `PrivacyPlan` is given besides the numbers of clients.
  """

  clients: int
  examples: int
  batch_size: int
  schema: schema_lib.Schema
  build_model: Callable[[], tf.keras.Model]
  plan: dict[str, Any] = dataclasses.field(default_factory=dict)


def build_workload(name: str) -> Workload:
  """Returns the workload of that name: one of W1 to W5, W5Q, or 'small', that of benchmarks.scale."""
  pictures = _vectors((28, 28, 1))
  private = {'clip_norm': 0.5, 'noise_multiplier': 1.0, 'delta': 1e-3}
  return {
    'W1': Workload(100, 100, 20, _vectors((784,)), lambda: _build_logistic(784)),
    'W2': Workload(100, 100, 20, pictures, _build_small_cnn),
    'W3': Workload(20, 100, 20, pictures, _build_large_cnn),
    'W4': Workload(20, 40, 10, _text(80, 90), _build_gru),
    'W5': Workload(100, 100, 20, pictures, _build_small_cnn, private),
    'W5Q': Workload(100, 100, 20, pictures, _build_small_cnn, {**private, 'quantization_bits': 8}),
    'small': Workload(100, 50, 10, _vectors((32,)), lambda: _build_logistic(32)),
  }[name]


def _build_logistic(inputs: int) -> tf.keras.Model:
  return tf.keras.Sequential([tf.keras.Input((inputs,)), layers.Dense(10)])


def _build_small_cnn() -> tf.keras.Model:
  return tf.keras.Sequential(
    [
      tf.keras.Input((28, 28, 1)),
      layers.Conv2D(8, 3, 2, activation='relu'),
      layers.Conv2D(16, 3, 2, activation='relu'),
      layers.Flatten(),
      layers.Dense(10, name='logits'),
    ]
  )


def _build_large_cnn() -> tf.keras.Model:
  """Builds the CNN of McMahan et al. 2017 (arXiv 1602.05629), 1.66 million weights."""
  return tf.keras.Sequential(
    [
      tf.keras.Input((28, 28, 1)),
      layers.Conv2D(32, 5, padding='same', activation='relu'),
      layers.MaxPooling2D(),
      layers.Conv2D(64, 5, padding='same', activation='relu'),
      layers.MaxPooling2D(),
      layers.Flatten(),
      layers.Dense(512, activation='relu'),
      layers.Dense(10),
    ]
  )


def _build_gru() -> tf.keras.Model:
  return tf.keras.Sequential(
    [
      tf.keras.Input((80,), dtype='int32'),
      layers.Embedding(90, 8),
      layers.RNN(layers.GRUCell(128), return_sequences=True),
      layers.Dense(90),
    ]
  )


def _vectors(shape: tuple[int, ...]) -> schema_lib.Schema:
  features, label = schema_lib.Feature('features', 'float32', shape), schema_lib.Feature('label', 'int32', ())
  return schema_lib.Schema('classification', features, label, ('?',) * 10)


def _text(length: int, classes: int) -> schema_lib.Schema:
  tokens, label = (schema_lib.Feature(name, 'int32', (length,)) for name in ('tokens', 'next'))
  return schema_lib.Schema('text', tokens, label, ('?',) * classes)


def write_clients(schema: schema_lib.Schema, sizes: np.ndarray, folder: str) -> client_shards.ClientShards:
  """Writes clients of these numbers of random examples as one shard."""
  stream = np.random.default_rng(0)
  starts = np.concatenate([[0], np.cumsum(sizes)])
  features, labels = (
    stream.random((starts[-1], *feature.shape), dtype=np.float32)
    if feature.dtype == 'float32'
    else stream.integers(0, schema.num_classes, (starts[-1], *feature.shape), dtype=np.int32)
    for feature in (schema.feature, schema.label)
  )
  client_ids = pa.array([b'%016d' % number for number in range(len(sizes))], pa.binary(shard_format.ID_BYTES))
  splits = np.zeros(len(sizes), np.int8)
  content = shard_writing.ShardContent(client_ids, splits, starts, features, labels, sizes)
  shard_writing.write_data_set(folder, schema, [content])
  return client_shards.ClientShards(folder)
