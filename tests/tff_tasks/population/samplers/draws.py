"""Cohorts of many rounds for tests of samplers: of 50 clients, ten a round."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from tff_tasks.population import cohorts
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib

SEED = seeds.Seed.from_number(5)
# Of the built-in samplers, with options.
ALL = (('poisson', ()), ('fixed', ()), ('cyclic', ()), ('min_separation', ('separation=3',)))


def plan(
  sampling: str, options: Sequence[str] = (), population: int = 50, clients_per_round: int = 10
) -> plan_lib.PrivacyPlan:
  return plan_lib.PrivacyPlan(
    population, clients_per_round, sampling, quantization_bits=0, sampling_options=tuple(options)
  )


def private(sampling: str, options: Sequence[str] = (), clients_per_round: int = 10) -> plan_lib.PrivacyPlan:
  """Returns such a plan with noise."""
  drawn = plan(sampling, options, clients_per_round=clients_per_round)
  return dataclasses.replace(drawn, clip_norm=0.1, noise_multiplier=2.0, delta=1e-3)


def ids(population: int) -> np.ndarray:
  """Returns ids that differ in as little as ids can."""
  return np.arange(2 * population, dtype='>u8').reshape(population, 2).view(np.uint8).copy()


def draw(
  drawn: plan_lib.PrivacyPlan, rounds: int, client_ids: np.ndarray | None = None, seed: seeds.Seed = SEED
) -> list[list[int]]:
  """Returns the cohorts of the first rounds."""
  source = cohorts.Cohorts(drawn, seed, ids(drawn.population) if client_ids is None else client_ids)
  return [source.draw(number).tolist() for number in range(1, rounds + 1)]


def joined(drawn: plan_lib.PrivacyPlan, rounds: int) -> np.ndarray:
  """Returns bools `[rounds, population]`: who took part."""
  result = np.zeros((rounds, drawn.population), bool)
  for index, cohort in enumerate(draw(drawn, rounds)):
    result[index, cohort] = True
  return result
