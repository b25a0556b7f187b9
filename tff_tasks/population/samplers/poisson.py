"""Poisson sampling: each client takes part in a round by a secret coin of its own."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tff_tasks.population.samplers import base

if TYPE_CHECKING:
  import dp_accounting


@dataclasses.dataclass(frozen=True)
class Poisson(base.Sampler):
  """Each client takes part with probability `clients_per_round / population`, independently of all others.

  The coin of a client is secret, which is what makes a round cheaper: the Poisson-subsampled Gaussian.
  """

  def cohort(self, draw: base.Draw) -> np.ndarray:
    return np.flatnonzero(base.are_below(draw.coins('cohort', draw.round_number), _probability(draw.size)))

  def event(self, one_round: 'dp_accounting.DpEvent', size: base.Size, rounds: int) -> 'dp_accounting.DpEvent':
    import dp_accounting

    sampled = dp_accounting.PoissonSampledDpEvent(_probability(size), one_round)
    return dp_accounting.SelfComposedDpEvent(sampled, rounds)

  def describe(self, size: base.Size) -> str:
    return f'Poisson: each of {size.population} clients with probability {_probability(size):.4g} a round'


def _probability(size: base.Size) -> float:
  return size.clients_per_round / size.population
