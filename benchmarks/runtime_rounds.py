"""Rounds of our runtimes, as the benchmarks measure them: clients read from shards, the state carried on."""

import os
import tempfile
from typing import NamedTuple

import numpy as np

from benchmarks import workloads
from contracts import client_shards
from models import functional_model
from tff_tasks.aggregation import round_noise
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import learning_process
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import client_data
from tff_tasks.population import client_state
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import registry


class Training(NamedTuple):
  """How clients train: what `tff_tasks.train` has flags for."""

  algorithm: local_algorithm.Algorithm = fed_avg.FedAvg()
  optimizer: str = 'sgd'
  weighting: str = 'uniform'


_TRAINING = Training()


class RuntimeRounds:
  """Rounds of one runtime on cohorts that are drawn anew each time; the next one is known while a round runs."""

  def __init__(
    self,
    workload: workloads.Workload,
    shards: client_shards.ClientShards,
    runtime: str,
    use_xla: bool | None,
    training: Training = _TRAINING,
    brought: client_data.Memory | None = None,
  ) -> None:
    self._population = shards.num_clients('train')
    self._clients = workload.clients
    options = {'quantization_bits': 0, 'weighting': training.weighting, **workload.plan}
    plan = plan_lib.PrivacyPlan(self._population, workload.clients, **options)
    model, seed = functional_model.FunctionalModel(workload.build_model, 1), seeds.Seed.from_number(1)
    built = learning_process.build_learning_process(
      training.algorithm,
      model,
      workload.schema,
      local_sgd.LocalTraining(workloads.LEARNING_RATE, workload.batch_size, 1, training.optimizer),
      learning_process.build_server_optimizer('sgd', 1.0),
      plan,
      seed,
    )
    self._noise = round_noise.RoundNoise(plan, built.update_size, seed)
    self._folder = tempfile.TemporaryDirectory()
    self._memory = None
    if built.memory_size:
      path = os.path.join(self._folder.name, 'client_state.db')
      self._memory = client_state.ClientState(path, built.memory_size, 'benchmark', 0, is_new=True)
    brought = self._memory if brought is None else brought
    self._source = client_data.ClientDataSource(shards, workload.batch_size, workload.examples, seed, brought)
    self._runtime = registry.build_runtime(runtime, built.process, use_xla)
    self._state = self._runtime.initialize()
    self._round = 0
    self._upcoming = self._draw_next()

  @property
  def use_xla(self) -> bool | None:
    """What the local runtime has chosen by now."""
    return self._runtime.settled.get('use_xla')

  @property
  def weights(self) -> list[np.ndarray]:
    """Those after the last round."""
    return list(self._state.global_model_weights.trainable)

  def run(self) -> None:
    """Runs one round.

    Raises:
      ValueError: If it skips a client.
    """
    cohort, self._upcoming = self._upcoming, self._draw_next()
    state = self._noise.add(cohort.round_number, self._state)
    result = self._runtime.next(state, cohort, self._upcoming)
    if result.skipped:
      raise ValueError(f'Expected rounds of all clients, found {result.skipped[0].reason}.')
    if self._memory and result.memory is not None:
      self._memory.update(cohort.round_number, result.memory)
    self._state = result.state

  def close(self) -> None:
    self._runtime.close()
    if self._memory:
      self._memory.close()
    self._folder.cleanup()

  def _draw_next(self) -> client_data.Cohort:
    self._round += 1
    stream = np.random.default_rng(self._round)
    return self._source.cohort(self._round, stream.choice(self._population, self._clients, replace=False))
