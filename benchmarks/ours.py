"""Rounds of our runtimes, as the benchmarks measure them: clients read from shards, the state carried on."""

import numpy as np

from benchmarks import workloads
from contracts import client_shards
from models import functional_model
from tff_tasks.aggregation import private_mean
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import learning_process
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import registry


class OurRounds:
  """Rounds of one runtime on cohorts that are drawn anew each time; the next one is known while a round runs."""

  def __init__(
    self, workload: workloads.Workload, shards: client_shards.ClientShards, runtime: str, use_xla: bool | None
  ) -> None:
    self._population = shards.num_clients('train')
    self._clients = workload.clients
    plan = plan_lib.PrivacyPlan(self._population, workload.clients, **{'quantization_bits': 0, **workload.plan})
    model, seed = functional_model.FunctionalModel(workload.build_model, 1), seeds.Seed.from_number(1)
    process = learning_process.build_learning_process(
      fed_avg.FedAvg(),
      model,
      workload.schema,
      client_work.LocalTraining(workloads.LEARNING_RATE, workload.batch_size, 1),
      learning_process.build_server_optimizer('sgd', 1.0),
      plan,
      seed,
    )
    self._noise = private_mean.RoundNoise(plan, sum(weight.size for weight in model.initial_weights), seed)
    self._source = client_data.ClientDataSource(shards, workload.batch_size, workload.examples, seed)
    self._runtime = registry.build_runtime(runtime, process, use_xla)
    self._state = self._runtime.initialize()
    self._round = 0
    self._upcoming = self._draw_next()

  @property
  def use_xla(self) -> bool | None:
    """What the local runtime has chosen by now."""
    return self._runtime.use_xla

  def run(self) -> None:
    """Runs one round.

    Raises:
      ValueError: If it leaves out a client.
    """
    cohort, self._upcoming = self._upcoming, self._draw_next()
    state = self._noise.add(cohort.round_number, self._state)
    result = self._runtime.next(state, cohort, self._upcoming)
    if result.left_out:
      raise ValueError(f'Expected rounds of all clients, found {result.left_out[0].reason}.')
    self._state = result.state

  def close(self) -> None:
    self._runtime.close()

  def _draw_next(self) -> client_data.Cohort:
    self._round += 1
    stream = np.random.default_rng(self._round)
    return self._source.cohort(self._round, stream.choice(self._population, self._clients, replace=False))
