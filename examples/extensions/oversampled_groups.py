"""A sampler of one's own: Poisson sampling in which some of the clients take part more often.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/oversampled \
    --sampling=examples.extensions.oversampled_groups:OversampledGroups --sampling_options=share=0.2,factor=3.0
"""

import dataclasses

import dp_accounting
import numpy as np

from tff_tasks.population.samplers import base


@dataclasses.dataclass(frozen=True)
class OversampledGroups(base.Sampler):
  """Each client takes part by a secret coin; a secret group of them comes `factor` times as often as the others.

  The group is drawn from the ids alone, so it does not depend on anyone's data.

  Attributes:
    share: Expected share of the clients in the group.
    factor: How much more often they take part.
  """

  share: float = 0.2
  factor: float = 2.0

  def __post_init__(self) -> None:
    if not 0 <= self.share <= 1 or self.factor < 1:
      raise ValueError(
        f'Expected 0 <= share <= 1 and factor >= 1, found {self.share} and {self.factor}: set --sampling_options.'
      )

  def cohort(self, draw: base.Draw) -> np.ndarray:
    is_in_group = base.are_below(draw.coins('group', 0), self.share)
    often, seldom = self._probabilities(draw.size)
    coins = draw.coins('cohort', draw.round_number)
    return np.flatnonzero(np.where(is_in_group, base.are_below(coins, often), base.are_below(coins, seldom)))

  def event(self, one_round: dp_accounting.DpEvent, size: base.Size, rounds: int) -> dp_accounting.DpEvent:
    # The guarantee is for every client: it is that of the group which pays most.
    often, _ = self._probabilities(size)
    return dp_accounting.SelfComposedDpEvent(dp_accounting.PoissonSampledDpEvent(often, one_round), rounds)

  def describe(self, size: base.Size) -> str:
    often, seldom = self._probabilities(size)
    return f'Poisson: {self.share:.0%} of {size.population} clients with probability {often:.4g}, others {seldom:.4g}'

  def _probabilities(self, size: base.Size) -> tuple[float, float]:
    """Returns those of the group and of the others: `clients_per_round` are expected, unless the first would pass 1."""
    mean = size.clients_per_round / size.population
    seldom = mean / (1 + self.share * (self.factor - 1))
    return min(1.0, self.factor * seldom), seldom
