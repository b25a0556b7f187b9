"""Cohorts with a minimum separation: two rounds of a client are at least so many rounds apart, within one secret."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tff_tasks.population.samplers import base

if TYPE_CHECKING:
  import dp_accounting


@dataclasses.dataclass(frozen=True)
class MinSeparation(base.Sampler):
  """Cyclic Poisson sampling: Choquette-Choo et al. 2023 (arXiv 2306.08153).

  A secret coin puts each client into one of `separation` groups, once. Rounds go through the groups in turn. A round
  draws the clients of its group by Poisson sampling, with probability `clients_per_round * separation / population`.

  A client can take part only in the rounds of its group, at most `ceil(rounds / separation)` of them, in each by a
  secret coin of its own. Its group does not depend on anyone's data, so the observer may know it. With independent
  noise, those Poisson-subsampled Gaussians bound what a run costs a client: exactly, for an observer who knows it.

  Groups are made by coins, so that no client's group depends on another client; they are about of one size.

  Attributes:
    separation: The smallest difference of the numbers of two rounds that may have the same client, within one secret.
  """

  separation: int

  def __post_init__(self) -> None:
    if self.separation < 1:
      raise ValueError(f'Expected separation of at least 1, found {self.separation}: set it in --sampling_options.')

  def cohort(self, draw: base.Draw) -> np.ndarray:
    groups = draw.coins('group', 0) % np.uint64(self.separation)
    is_in_turn = groups == draw.step % self.separation
    is_drawn = base.are_below(draw.coins('cohort', draw.round_number), self._probability(draw.size))
    return np.flatnonzero(is_in_turn & is_drawn)

  def event(self, one_round: 'dp_accounting.DpEvent', size: base.Size, rounds: int) -> 'dp_accounting.DpEvent':
    import dp_accounting

    sampled = dp_accounting.PoissonSampledDpEvent(self._probability(size), one_round)
    return dp_accounting.SelfComposedDpEvent(sampled, self.most_rounds(size, rounds))

  def most_rounds(self, size: base.Size, rounds: int) -> int:
    return -(-rounds // self.separation)

  def min_gap(self, size: base.Size) -> int | None:
    return self.separation if self.separation > 1 else None

  def most_clients(self, population: int) -> int:
    return population // self.separation

  def describe(self, size: base.Size) -> str:
    return (
      f'minimum separation: {size.population} clients in {self.separation} groups that take turns, each client of the '
      f'group with probability {self._probability(size):.4g}'
    )

  def _probability(self, size: base.Size) -> float:
    return size.clients_per_round * self.separation / size.population
