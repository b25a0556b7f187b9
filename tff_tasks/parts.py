"""The parts of a run, each built from the settings alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_federated as tff

from pipelines import schema as schema_lib
from tff_tasks import algorithms
from tff_tasks import client_work
from tff_tasks import functional
from tff_tasks import learned
from tff_tasks import privacy
from tff_tasks import seeds
from tff_tasks import settings as settings_lib


def build_plan(
    settings: settings_lib.Settings,
    population: int,
    entries: Sequence[Mapping[str, Any]] = (),
    before: Sequence[privacy.Segment] = (),
    rounds: int | None = None,
) -> privacy.PrivacyPlan:
  """Returns the privacy plan of the settings, calibrated to the target epsilon if there is one.

  Args:
    settings: What to do.
    population: The number of training clients.
    entries: What the data set was made with: its manifest's `learned`.
    before: Rounds that were released before those of this plan; the target epsilon is for all of them.
    rounds: The rounds of this plan; by default all of the settings.
  """
  plan = privacy.PrivacyPlan(
      population=population,
      clients_per_round=settings.clients_per_round,
      sampling=settings.sampling,
      clip_norm=settings.clip_norm,
      quantization_bits=settings.quantization_bits,
      noise_multiplier=settings.noise_multiplier or 0.0,
      delta=settings.delta,
      learned=learned.total(entries),
      is_seeded=settings.seed is not None,
  )
  if not settings.target_epsilon:
    return plan
  return plan.calibrated(settings.target_epsilon, settings.total_rounds if rounds is None else rounds, before)


def build_seed(settings: settings_lib.Settings) -> seeds.Seed:
  """Returns the seed of a new run."""
  return seeds.Seed.from_system() if settings.seed is None else seeds.Seed.from_number(settings.seed)


def build_learning_process(
    settings: settings_lib.Settings,
    rounds: int,
    model: functional.FunctionalModel,
    schema: schema_lib.Schema,
    plan: privacy.PrivacyPlan,
    seed: seeds.Seed,
) -> tff.learning.templates.LearningProcess:
  """Returns the learning process of the settings; see `algorithms.build_learning_process`.

  Args:
    settings: What to do.
    rounds: The rounds that the server's optimizer goes through, which its schedule is worked out from.
    model: What to train.
    schema: What the clients hold.
    plan: The privacy plan.
    seed: The seed of the run.
  """
  training = client_work.LocalTraining(
      settings.client_learning_rate,
      settings.client_batch_size,
      settings.client_epochs_per_round,
  )
  server_optimizer = algorithms.build_server_optimizer(
      settings.server_optimizer,
      settings.server_learning_rate,
      settings.server_learning_rate_schedule,
      rounds,
  )
  return algorithms.build_learning_process(model, schema, training, server_optimizer, plan, seed)
