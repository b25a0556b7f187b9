"""The parts of a run, each built from the config alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_federated as tff

from contracts import client_shards
from contracts import personalization
from contracts import provenance
from contracts import schema as schema_lib
from models import functional_model
from tff_tasks import config as config_lib
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.algorithms import learning_process
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.algorithms import registry as algorithms
from tff_tasks.population import capabilities as capabilities_lib
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.runtime import registry as runtimes
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import program_state


def build_plan(
  config: config_lib.Config,
  population: int,
  entries: Sequence[Mapping[str, Any]] = (),
  before: Sequence[segments_lib.Segment] = (),
  rounds: int | None = None,
  availability: str = '',
  capabilities: str = '',
) -> plan_lib.PrivacyPlan:
  """Returns the privacy plan of the config, calibrated to the target epsilon if there is one.

  Args:
    config: What to do.
    population: The number of training clients.
    entries: What the data set was made with: its manifest's `learned`.
    before: Rounds that were released before those of this plan; the target epsilon is for all of them.
    rounds: The rounds of this plan; by default all of the config.
    availability: The name of who can be invited when; empty: everyone, always.
    capabilities: The name of who does how much work; empty: all do the same.
  """
  plan = plan_lib.PrivacyPlan(
    population=population,
    clients_per_round=config.clients_per_round,
    sampling=config.sampling,
    clip_norm=config.clip_norm or None,
    quantization_bits=config.quantization_bits,
    noise_multiplier=config.noise_multiplier or 0.0,
    delta=config.delta,
    learned=provenance.total(entries),
    is_seeded=config.seed is not None,
    sampling_options=tuple(config.sampling_options),
    availability=availability,
    weighting=config.weighting,
    capabilities=capabilities,
    mechanism=config.mechanism,
    mechanism_options=tuple(config.mechanism_options),
    compression=config.compression,
    compression_options=tuple(config.compression_options),
  )
  if not config.target_epsilon:
    return plan
  return segments_lib.calibrated(plan, config.target_epsilon, config.total_rounds if rounds is None else rounds, before)


def fine_tuning(config: config_lib.Config) -> personalization.FineTuning | None:
  """Returns how held-out users are fine-tuned in the end: as a device does before use, or as flags ask; else None."""
  return on_device(config) or config.fine_tuning


def on_device(config: config_lib.Config) -> personalization.FineTuning | None:
  """Returns how a device trains layers of the model before it uses it; None if it uses the model as it is."""
  algorithm = algorithms.build(config.algorithm, config.algorithm_options)
  return algorithm.on_device(config) if isinstance(algorithm, local_algorithm.LocalAlgorithm) else None


def build_seed(config: config_lib.Config) -> seeds.Seed:
  """Returns the seed of a new run."""
  return seeds.Seed.from_system() if config.seed is None else seeds.Seed.from_number(config.seed)


def build_runtime(
  config: config_lib.Config,
  process: tff.learning.templates.LearningProcess,
  saved: program_state.ProgramState | None = None,
) -> runtime_lib.Runtime:
  """Returns the runtime of the config for a learning process, with what it had settled at a checkpoint."""
  settled = saved.settled if saved else {}
  return runtimes.build_runtime(config.runtime, process, config_lib.XLA[config.xla], settled, config.runtime_options)


def build_source(
  config: config_lib.Config,
  shards: client_shards.ClientShards,
  seed: seeds.Seed,
  state: client_data.Memory | None = None,
  capabilities: capabilities_lib.Capabilities | None = None,
) -> client_data.ClientDataSource:
  """Returns where the rounds of the config get their clients from; see `client_data.ClientDataSource`."""
  batch_size, most = _batch_size(config, capabilities), config.max_examples_per_client
  return client_data.ClientDataSource(shards, batch_size, most, seed, state, capabilities)


def _batch_size(config: config_lib.Config, capabilities: capabilities_lib.Capabilities | None) -> int:
  """Returns the most examples of a step."""
  return capabilities.largest_batch if capabilities else config.client_batch_size


def build_learning_process(
  config: config_lib.Config,
  rounds: int,
  model: functional_model.FunctionalModel,
  schema: schema_lib.Schema,
  plan: plan_lib.PrivacyPlan,
  seed: seeds.Seed,
  capabilities: capabilities_lib.Capabilities | None = None,
) -> learning_process.Built:
  """Returns the learning process of the config; see `learning_process.build_learning_process`.

  Args:
    config: What to do.
    rounds: The rounds of the run, which schedules of learning rates go through.
    model: What to train.
    schema: What the clients hold.
    plan: The privacy plan.
    seed: The seed of the run.
    capabilities: The work of each client; None if all do the same.
  """
  training = local_sgd.LocalTraining(
    config.client_learning_rate,
    _batch_size(config, capabilities),
    config.client_epochs_per_round,
    config.client_optimizer,
    config.client_learning_rate_schedule,
    rounds,
    config.max_gradient_norm,
    capabilities is not None,
  )
  server_optimizer = learning_process.build_server_optimizer(
    config.server_optimizer,
    config.server_learning_rate,
    config.server_learning_rate_schedule,
    rounds,
  )
  return learning_process.build_learning_process(
    algorithms.build(config.algorithm, config.algorithm_options),
    model,
    schema,
    training,
    server_optimizer,
    plan,
    seed,
    aggregations.build(config.aggregation, config.aggregation_options),
  )
