"""Rounds of an algorithm on the data set of the fakes, to compare algorithms and runtimes by their weights."""

from collections.abc import Sequence
import contextlib
import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow_federated as tff

from contracts import client_shards
from models import functional_model
from models.tasks import next_character
from tests.tff_tasks import fakes
from tff_tasks.aggregation import private_mean
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import learning_process
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import registry

SEED = seeds.Seed.from_number(3)
# Neither of them is without data, and one of them has more than one batch.
COHORT = (1, 4, 6)
TRAINING = client_work.LocalTraining(0.5, 4, 2)
PLAIN = plan_lib.PrivacyPlan(len(fakes.SIZES), len(COHORT), quantization_bits=0)
PRIVATE = dataclasses.replace(PLAIN, clip_norm=0.05, noise_multiplier=1.0, delta=1e-3)


def build_model() -> functional_model.FunctionalModel:
  """Returns a small model, the same at every call."""
  return functional_model.FunctionalModel(functools.partial(next_character.build_model, fakes.SCHEMA, 5), 1)


@dataclasses.dataclass(frozen=True)
class Rounds:
  """Rounds on one data set.

  Attributes:
    shards: The data set.
    training: How clients train.
    plan: The privacy plan.
  """

  shards: client_shards.ClientShards
  training: client_work.LocalTraining = TRAINING
  plan: plan_lib.PrivacyPlan = PLAIN

  @property
  def source(self) -> client_data.ClientDataSource:
    return client_data.ClientDataSource(self.shards, self.training.batch_size, 24, SEED)

  def run(
    self, algorithm: base.Algorithm, runtime: str = 'local', use_xla: bool = False, count: int = 2
  ) -> tuple[list[np.ndarray], Any]:
    """Returns the weights after some rounds, and the metrics of the last one."""
    hashable: Any = algorithm  # A frozen dataclass.
    process = _build_process(hashable, self.training, self.plan)
    with contextlib.closing(registry.build_runtime(runtime, process, use_xla)) as ran:
      state, metrics = ran.initialize(), None
      noise = private_mean.RoundNoise(self.plan, sum(map(np.size, _weights(state))), SEED)
      for number in range(1, count + 1):
        cohort = self.source.cohort(number, np.array(COHORT))
        state, metrics, _ = ran.next(noise.add(number, state), cohort)
    return _weights(state), metrics


@functools.cache
def _build_process(
  algorithm: base.Algorithm, training: client_work.LocalTraining, plan: plan_lib.PrivacyPlan
) -> tff.learning.templates.LearningProcess:
  server_optimizer = learning_process.build_server_optimizer('sgd', 1.0)
  return learning_process.build_learning_process(
    algorithm, build_model(), fakes.SCHEMA, training, server_optimizer, plan, SEED
  )


def assert_close(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
  """Checks that weights are equal up to float rounding."""
  for one, other in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)


def distance(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
  """Returns the largest difference of two weights."""
  return max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True))


def _weights(state: Any) -> list[np.ndarray]:
  return list(state.global_model_weights.trainable)
