"""Rounds of an algorithm, to compare algorithms and runtimes by their weights.

The examples of a client are all the same, so that the order of its batches does not matter; clients have different
numbers of them, so they take different numbers of steps. The model is small: compiling is what takes long.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import os
import tempfile
from typing import Any, NamedTuple

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import schema as schema_lib
from models import functional_model
from pipelines.shards import shard_writing
from tests.tff_tasks import compiled_once
from tests.tff_tasks import fakes
from tff_tasks.aggregation import mean
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.aggregation import round_noise
from tff_tasks.algorithms import learning_process
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.population import client_data
from tff_tasks.population import client_state
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import registry

SEED = seeds.Seed.from_number(3)
# None of them is without data, and two of them have more than one batch.
COHORT = (1, 4, 6)
TWICE = (COHORT, COHORT)
# Participation in part: some clients come again, one comes first in the last round.
CHANGING = (COHORT, (0, 4, 7), (1, 5, 6), (2, 4, 7))
TRAINING = local_sgd.LocalTraining(0.5, 4, 2)
PLAIN = plan_lib.PrivacyPlan(len(fakes.SIZES), len(COHORT), quantization_bits=0)
PRIVATE = dataclasses.replace(PLAIN, clip_norm=0.05, noise_multiplier=1.0, delta=1e-3)
MOST_EXAMPLES = 24
MEAN = mean.Mean()
_WIDTH = 4


class Outcome(NamedTuple):
  """What rounds lead to.

  Attributes:
    weights: After the last round, as one vector.
    norms: Of the updates of the last round, before clipping.
    skipped: The clients that the last round skipped.
    memory: `[population, memory_size]`, what each client keeps.
  """

  weights: np.ndarray
  norms: np.ndarray
  skipped: list[int]
  memory: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rounds:
  """Rounds on one data set.

  Attributes:
    shards: The data set.
    training: How clients train.
    plan: The privacy plan.
    server_rate: The learning rate of the server's SGD.
    aggregation: How updates are combined.
    capabilities: The work of each client; None if all do the same.
  """

  shards: client_shards.ClientShards
  training: local_sgd.LocalTraining = TRAINING
  plan: plan_lib.PrivacyPlan = PLAIN
  server_rate: float = 1.0
  aggregation: aggregations.Aggregation = MEAN
  capabilities: capabilities_lib.Capabilities | None = None

  def run(
    self,
    algorithm: local_algorithm.Algorithm,
    runtime: str = 'local',
    use_xla: bool = False,
    cohorts: Sequence[Sequence[int]] = TWICE,
  ) -> Outcome:
    """Runs a round for each cohort."""
    hashable: Any = algorithm, self.training, self.plan, self.server_rate, self.aggregation  # Frozen dataclasses.
    built = build_process(*hashable)
    with contextlib.ExitStack() as stack:
      ran = stack.enter_context(contextlib.closing(registry.build_runtime(runtime, built.process, use_xla)))
      path = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), 'state')
      store = client_state.ClientState(path, built.memory_size, 'run', 0, is_new=True)
      stack.callback(store.close)
      source = client_data.ClientDataSource(
        self.shards, self.training.batch_size, MOST_EXAMPLES, SEED, store, self.capabilities
      )
      state, result = ran.initialize(), None
      noise = round_noise.RoundNoise(self.plan, built.update_size, SEED)
      for number, clients in enumerate(cohorts, start=1):
        result = ran.next(noise.add(number, state), source.cohort(number, np.array(clients, int)))
        state = result.state
        if result.memory is not None:
          store.update(number, result.memory)
          store.save(number, 0)
      memory = np.zeros((self.plan.population, built.memory_size), np.float32)
      store.read_into(list(range(len(memory))), memory)
    assert result is not None
    assert result.report is not None
    return Outcome(flat(state), result.report.norm, [error.client for error in result.skipped], memory)


class RoundsTestCase(parameterized.TestCase):
  """Tests of rounds, which share what is compiled for a process.

  Attributes:
    training: How clients train.
    shards: The data set of `write_shards`.
    rounds: Rounds of that training on it.
  """

  training = TRAINING

  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    self.shards = write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self.rounds = Rounds(self.shards, self.training)


@functools.cache
def build_process(
  algorithm: local_algorithm.Algorithm,
  training: local_sgd.LocalTraining = TRAINING,
  plan: plan_lib.PrivacyPlan = PLAIN,
  server_rate: float = 1.0,
  aggregation: aggregations.Aggregation = MEAN,
) -> learning_process.Built:
  """Builds the learning process of an algorithm, once."""
  server_optimizer = learning_process.build_server_optimizer('sgd', server_rate)
  return learning_process.build_learning_process(
    algorithm, build_model(), fakes.SCHEMA, training, server_optimizer, plan, SEED, aggregation
  )


def build_keras_model() -> tf.keras.Model:
  """Builds logits of the next character by the one before it: embedding, dense."""
  codes = tf.keras.Input(fakes.SCHEMA.feature.shape, dtype=tf.int32)
  initializer = tf.keras.initializers.RandomNormal()
  embedded = tf.keras.layers.Embedding(fakes.SCHEMA.num_classes, _WIDTH, initializer, name='embedding')(codes)
  return tf.keras.Model(codes, tf.keras.layers.Dense(fakes.SCHEMA.num_classes, name='logits')(embedded))


@functools.cache
def build_model() -> functional_model.FunctionalModel:
  """Returns that model as a function; to be left as it is."""
  return functional_model.FunctionalModel(build_keras_model, 1)


def write_shards(path: str) -> client_shards.ClientShards:
  """Writes training clients of `fakes.SIZES` examples, all of which are the same."""
  stream = np.random.default_rng(0)
  (length,), classes = fakes.SCHEMA.feature.shape, fakes.SCHEMA.num_classes
  clients = []
  for client, size in enumerate(fakes.SIZES):
    text = np.tile(stream.integers(1, classes, length + 1), (size, 1))
    labels = text[:, 1:].astype(np.int8)
    labels[:, length - client % 3 :] = schema_lib.IGNORED_LABEL
    name = f'user-{client:011d}'.encode()
    clients.append(shard_writing.ClientExamples(name, 'train', text[:, :-1].astype(np.uint8), labels))
  return fakes.write_clients(path, clients)


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
  """Checks that weights are equal up to float rounding."""
  np.testing.assert_allclose(ours, theirs, atol=1e-5)


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
  """Returns the largest difference of two weights."""
  return float(np.abs(ours - theirs).max())


def begin() -> np.ndarray:
  """Returns the weights before the first round, as one vector."""
  return join(build_model().initial_weights)


def flat(state: Any) -> np.ndarray:
  """Returns the weights in the state of a learning process, as one vector."""
  return join(state.global_model_weights.trainable)


def join(weights: Sequence[np.ndarray]) -> np.ndarray:
  """Returns weights as one vector."""
  return np.concatenate([np.ravel(weight) for weight in weights])
