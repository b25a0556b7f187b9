"""Rounds of TensorFlow Federated as it comes, none of our code in them: as in its tutorials, and at its best."""

import collections
import os
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from benchmarks import workloads
from contracts import client_shards


class TutorialRounds:
  """As in TFF's tutorials: a `tf.data` dataset a client, a Keras model with a metric, all defaults."""

  use_xla = None

  def __init__(self, workload: workloads.Workload, shards: client_shards.ClientShards) -> None:
    self._batch_size = workload.batch_size
    self._clients = [tuple(map(np.array, shards.read('train', client))) for client in range(workload.clients)]
    self._process = _build_process(workload, unroll=False)
    self._state = self._process.initialize()

  def run(self) -> None:
    """Runs one round on datasets made for it."""
    self._state = self._process.next(self._state, [self._dataset(*client) for client in self._clients]).state

  def close(self) -> None:
    """Does nothing: the server that TFF has started is ended with the process."""

  def _dataset(self, features: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    examples = tf.data.Dataset.from_tensor_slices(collections.OrderedDict(x=features, y=labels))
    return examples.shuffle(len(labels)).batch(self._batch_size).prefetch(tf.data.AUTOTUNE)


class TunedRounds:
  """At the best config that we know of: clients go in as their ids, and a computation of TFF's server reads them.

  Each client has its examples in files of its own, as the batches are wanted; the training loop is that of an iterator;
  recurrent layers are unrolled; as many clients as there are cores train at a time, each on one.
  """

  use_xla = None

  def __init__(self, workload: workloads.Workload, shards: client_shards.ClientShards) -> None:
    # Read by TensorFlow in TFF's server, which is another process.
    os.environ['TF_NUM_INTRAOP_THREADS'] = '1'
    tff.backends.native.set_sync_local_cpp_execution_context(max_concurrent_computation_calls=os.cpu_count() or 1)
    self._folder = tempfile.TemporaryDirectory()
    self._ids = [f'{client:06d}' for client in range(workload.clients)]
    for client, name in enumerate(self._ids):
      for kind, array in zip('xy', shards.read('train', client), strict=True):
        array.tofile(os.path.join(self._folder.name, name + kind))
    process = _build_process(workload, tff.learning.LoopImplementation.DATASET_ITERATOR, unroll=True)
    self._process = tff.simulation.compose_dataset_computation_with_learning_process(
      _build_reader(workload, self._folder.name), process
    )
    self._state = self._process.initialize()

  def run(self) -> None:
    """Runs one round."""
    self._state = self._process.next(self._state, self._ids).state

  def close(self) -> None:
    self._folder.cleanup()


def _build_reader(workload: workloads.Workload, folder: str) -> tff.Computation:
  """Returns the computation from a client's id to the dataset of its batches."""

  @tff.tensorflow.computation(tf.string)
  def read(client_id: tf.Tensor) -> tf.data.Dataset:
    arrays = collections.OrderedDict()
    for kind, feature in zip('xy', (workload.schema.feature, workload.schema.label), strict=True):
      content = tf.io.decode_raw(tf.io.read_file(tf.strings.join([folder, '/', client_id, kind])), feature.dtype)
      arrays[kind] = tf.reshape(content, (-1, workload.batch_size, *feature.shape))
    # What tf.data does to be fast is more work than five batches are: without it small clients train twice as fast.
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return tf.data.Dataset.from_tensor_slices(arrays).with_options(options)

  return read


def _build_process(
  workload: workloads.Workload,
  loop: tff.learning.LoopImplementation = tff.learning.LoopImplementation.DATASET_REDUCE,
  *,
  unroll: bool,
) -> tff.learning.templates.LearningProcess:
  """Builds FedAvg as TFF offers it; with a noise multiplier, with its aggregator of a fixed clip.

  That is `tff.learning.dp_aggregator` without its adaptive parts: the bare loop and ours have none.
  """
  spec = collections.OrderedDict(
    (kind, tf.TensorSpec((None, *feature.shape), feature.dtype))
    for kind, feature in zip('xy', (workload.schema.feature, workload.schema.label), strict=True)
  )

  def build_model() -> tff.learning.models.VariableModel:
    model = workload.build_model()
    for layer in model.layers:
      layer.unroll = unroll  # Of use to recurrent layers alone.
    return tff.learning.models.from_keras_model(
      model,
      input_spec=spec,
      loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
      metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
    )

  optimizers = (
    tff.learning.optimizers.build_sgdm(workloads.LEARNING_RATE),
    tff.learning.optimizers.build_sgdm(1.0),
  )
  if not workload.plan:
    return tff.learning.algorithms.build_weighted_fed_avg(build_model, *optimizers, loop_implementation=loop)
  aggregator = tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
    workload.plan['noise_multiplier'], workload.clients, workload.plan['clip_norm']
  )
  return tff.learning.algorithms.build_unweighted_fed_avg(
    build_model, *optimizers, model_aggregator=aggregator, loop_implementation=loop
  )
