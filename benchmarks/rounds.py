"""Clients a second of our runtimes, against the bare TensorFlow loop that one would write by hand.

  python -m benchmarks.rounds --workload=W2 --runtime=local --json

The two sides run interleaved in one process, on the same batches, and medians of several rounds are compared: on a
noisy machine the ratio says more than either figure. Our side reads its clients from shards on disk.
"""

from collections.abc import Callable, Iterator
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import resource
import statistics
import tempfile
import time
from typing import Any

from absl import flags
import numpy as np

from pipelines import cli
from pipelines import client_shards
from pipelines import schema as schema_lib
from pipelines.shards import shard_writing

_WORKLOAD = flags.DEFINE_enum('workload', 'W2', ['W1', 'W2', 'W3', 'W4', 'W5', 'W5Q'], 'What the clients train.')
_RUNTIME = flags.DEFINE_enum('runtime', 'local', ['local', 'tff'], 'Which runtime runs them.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Rounds of each side.', lower_bound=1)
_XLA = flags.DEFINE_bool('xla', None, 'Whether XLA compiles the clients; by default as the task prefers.')
_JSON = flags.DEFINE_bool('json', False, 'Print one line of JSON.')

_LEARNING_RATE = 0.05


@dataclasses.dataclass(frozen=True)
class Workload:
  """What clients train: `clients` of them, each with `examples` in batches of `batch_size`."""

  clients: int
  examples: int
  batch_size: int
  schema: schema_lib.Schema
  build_model: Callable[[], Any]
  prefers_xla: bool
  plan: dict[str, Any] = dataclasses.field(default_factory=dict)


def _images(shape: tuple[int, ...], classes: int) -> schema_lib.Schema:
  label = schema_lib.Feature('label', 'int32', ())
  return schema_lib.Schema('image', schema_lib.Feature('image', 'float32', shape), label, ('?',) * classes)


def _text(length: int, classes: int) -> schema_lib.Schema:
  tokens, label = (schema_lib.Feature(name, 'int32', (length,)) for name in ('tokens', 'next'))
  return schema_lib.Schema('text', tokens, label, ('?',) * classes)


def build_workload(name: str) -> Workload:
  """Returns the workload of that name; W5 is W2 with central DP, W5Q with updates of 8 bits as well."""
  import tensorflow as tf

  layers = tf.keras.layers

  def model(*parts: Any) -> Callable[[], Any]:
    # Fresh layers at each call, so that a model can be built again in a graph.
    return lambda: tf.keras.Sequential([part() for part in parts])

  image = lambda: tf.keras.Input((28, 28, 1))  # noqa: E731
  small = model(
      image, lambda: layers.Conv2D(8, 3, 2, activation='relu'), lambda: layers.Conv2D(16, 3, 2, activation='relu'),
      layers.Flatten, lambda: layers.Dense(10),
  )  # fmt: skip
  large = model(
      image, lambda: layers.Conv2D(32, 5, padding='same', activation='relu'), layers.MaxPooling2D,
      lambda: layers.Conv2D(64, 5, padding='same', activation='relu'), layers.MaxPooling2D, layers.Flatten,
      lambda: layers.Dense(512, activation='relu'), lambda: layers.Dense(10),
  )  # fmt: skip
  logistic = model(lambda: tf.keras.Input((784,)), lambda: layers.Dense(10))
  gru = model(
      lambda: tf.keras.Input((80,), dtype='int32'), lambda: layers.Embedding(90, 8),
      lambda: layers.RNN(layers.GRUCell(128), return_sequences=True), lambda: layers.Dense(90),
  )  # fmt: skip
  pictures = _images((28, 28, 1), 10)
  private = {'clip_norm': 0.5, 'noise_multiplier': 1.0, 'delta': 1e-3}
  return {
      'W1': Workload(100, 100, 20, _images((784,), 10), logistic, True),
      'W2': Workload(100, 100, 20, pictures, small, False),
      'W3': Workload(20, 100, 20, pictures, large, False),
      'W4': Workload(20, 40, 10, _text(80, 90), gru, True),
      'W5': Workload(100, 100, 20, pictures, small, False, private),
      'W5Q': Workload(100, 100, 20, pictures, small, False, {**private, 'quantization_bits': 8}),
  }[name]


def write_clients(workload: Workload, folder: str) -> client_shards.ClientShards:
  """Writes random clients as shards."""
  stream, schema = np.random.default_rng(0), workload.schema

  def client(number: int) -> shard_writing.ClientExamples:
    arrays = [
        stream.random((workload.examples, *feature.shape), dtype=np.float32)
        if feature.dtype == 'float32'
        else stream.integers(0, schema.num_classes, (workload.examples, *feature.shape), dtype=np.int32)
        for feature in (schema.feature, schema.label)
    ]
    return shard_writing.ClientExamples(f'{number:016d}'.encode(), 'train', *arrays)

  shard_writing.write_data_set(folder, schema, [shard_writing.pack(map(client, range(workload.clients)))])
  return client_shards.ClientShards(folder)


def build_bare_round(workload: Workload, shards: client_shards.ClientShards) -> Callable[[], None]:
  """Returns a round as one would write it by hand: a resident model and one compiled client function a thread."""
  import tensorflow as tf

  loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  data = [tuple(map(np.array, shards.read('train', client))) for client in range(workload.clients)]
  # Keras unrolls its recurrent loops here: the faster way without XLA.
  start = [tf.constant(weight) for weight in workload.build_model().get_weights()]

  def build_client() -> Callable[..., list[Any]]:
    model = workload.build_model()
    for layer in model.layers:
      layer.unroll = True
    variables = model.trainable_variables

    @tf.function
    def train(features: Any, labels: Any, *weights: Any) -> list[Any]:
      for variable, weight in zip(variables, weights, strict=True):
        variable.assign(weight)
      for step in tf.range(workload.examples // workload.batch_size):
        part = slice(step * workload.batch_size, (step + 1) * workload.batch_size)
        batch = tf.ensure_shape(features[part], (workload.batch_size, *workload.schema.feature.shape))
        with tf.GradientTape() as tape:
          value = loss(labels[part], model(batch, training=True))
        for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
          variable.assign_sub(_LEARNING_RATE * tf.convert_to_tensor(gradient))
      return [variable - weight for variable, weight in zip(variables, weights, strict=True)]

    return train

  threads = os.cpu_count() or 1
  trainers = [build_client() for _ in range(threads)]
  pool = concurrent.futures.ThreadPoolExecutor(threads)

  def train_share(thread: int) -> list[np.ndarray]:
    total: list[Any] | None = None
    for features, labels in data[thread::threads]:
      update = trainers[thread](features, labels, *start)
      total = update if total is None else [one + other for one, other in zip(total, update, strict=True)]
    return [part.numpy() for part in total or []]

  def run() -> None:
    list(pool.map(train_share, range(threads)))

  return run


@contextlib.contextmanager
def our_round(
    workload: Workload, shards: client_shards.ClientShards, runtime_name: str, use_xla: bool
) -> Iterator[Callable[[], None]]:
  """Yields a round of one of our runtimes, shards read and state carried on."""
  from tff_tasks import algorithms
  from tff_tasks import client_data
  from tff_tasks import privacy
  from tff_tasks import seeds
  from tff_tasks.runtime import registry

  seed = seeds.Seed.from_number(1)
  plan = privacy.PrivacyPlan(workload.clients, workload.clients, **{'quantization_bits': 0, **workload.plan})
  optimizer = algorithms.build_server_optimizer('sgd', 1.0)
  process = algorithms.build_learning_process(
      workload.build_model, workload.schema, workload.batch_size, _LEARNING_RATE, optimizer, plan, seed
  )
  source = client_data.ClientDataSource(shards, workload.batch_size, 1, workload.examples, seed)
  with contextlib.closing(registry.build_runtime(runtime_name, process, use_xla)) as runtime:
    state = [runtime.initialize(), 0]

    def run() -> None:
      state[1] += 1
      state[0] = runtime.next(state[0], source.round_clients(state[1], np.arange(workload.clients))).state

    yield run


def _seconds(call: Callable[[], None]) -> float:
  started = time.perf_counter()
  call()
  return time.perf_counter() - started


def compare(workload: Workload, runtime_name: str, use_xla: bool, rounds: int) -> dict[str, Any]:
  """Returns the medians of both sides, interleaved, and their ratio."""
  with tempfile.TemporaryDirectory() as folder:
    shards = write_clients(workload, folder)
    bare = build_bare_round(workload, shards)
    bare()  # Traced first: a model that is built in a graph, as ours is, invalidates Keras models from outside of it.
    started = time.perf_counter()
    with our_round(workload, shards, runtime_name, use_xla) as ours:
      ours()
      first_round = time.perf_counter() - started
      ours()
      times = [(_seconds(bare), _seconds(ours)) for _ in range(rounds)]
  bare_rate, our_rate = (workload.clients / statistics.median(side) for side in zip(*times, strict=True))
  return {
      'clients_per_s': round(our_rate, 1),
      'bare_clients_per_s': round(bare_rate, 1),
      'ratio': round(our_rate / bare_rate, 2),
      'peak_rss_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
      'first_round_s': round(first_round, 1),
  }


def main() -> None:
  """Runs one workload."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(1)
  workload = build_workload(_WORKLOAD.value)
  use_xla = workload.prefers_xla if _XLA.value is None else _XLA.value
  figures = {'workload': _WORKLOAD.value, 'runtime': _RUNTIME.value, 'xla': use_xla}
  figures |= compare(workload, _RUNTIME.value, use_xla, _ROUNDS.value)
  print(json.dumps(figures) if _JSON.value else _describe(figures))


def _describe(figures: dict[str, Any]) -> str:
  return '\n'.join(f'{name:20}{value}' for name, value in figures.items())




if __name__ == '__main__':
  cli.run(main)
