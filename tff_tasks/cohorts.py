"""Who takes part in a round, from (seed, round) and nothing else, the way the privacy plan accounts for."""

import numpy as np

from tff_tasks import privacy
from tff_tasks import seeds


def draw_cohort(plan: privacy.PrivacyPlan, seed: seeds.Seed, round_number: int) -> np.ndarray:
  """Returns the cohort of a round: sorted indices of training clients, int64, possibly none under Poisson sampling."""
  stream = seed.stream('cohort', round_number)
  if plan.sampling == 'poisson':
    return np.flatnonzero(stream.random(plan.population) < plan.sampling_probability)
  return np.sort(stream.choice(plan.population, plan.clients_per_round, replace=False))
