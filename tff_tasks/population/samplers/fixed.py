"""Cohorts of a fixed size, drawn anew each round without replacement."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tff_tasks.population.samplers import base

if TYPE_CHECKING:
  import dp_accounting


@dataclasses.dataclass(frozen=True)
class Fixed(base.Sampler):
  """Exactly `clients_per_round` clients, or all that are available if those are fewer.

  Who is invited does not depend on the data, so the bound lets the observer know every cohort. A run is then a mixture
  over the number of rounds that have the client, which is binomial.

  Without one client, another one takes its place: the draws of the others depend on how many clients there are.
  """

  def cohort(self, draw: base.Draw) -> np.ndarray:
    order = draw.order('cohort', draw.round_number)
    if draw.available is not None:
      order = order[draw.available[order]]
    return order[: draw.size.clients_per_round]

  def event(self, one_round: 'dp_accounting.DpEvent', size: base.Size, rounds: int) -> 'dp_accounting.DpEvent':
    import dp_accounting

    from tff_tasks.population.samplers import events

    known = events.KnownCohortDpEvent(size.clients_per_round / size.population, one_round)
    return dp_accounting.SelfComposedDpEvent(known, rounds)

  def describe(self, size: base.Size) -> str:
    return f'fixed: {size.clients_per_round} of {size.population} clients a round, without replacement'

  @property
  def bound(self) -> str:
    return (
      'With fixed cohorts this is the bound against an observer who knows who took part in every round: sampling does '
      'not hide a client. --sampling=poisson costs much less at the same noise'
    )
