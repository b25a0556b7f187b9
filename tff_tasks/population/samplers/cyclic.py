"""Cohorts by epoch: every client takes part once before any takes part again."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tff_tasks.population.samplers import base

if TYPE_CHECKING:
  import dp_accounting


@dataclasses.dataclass(frozen=True)
class Cyclic(base.Sampler):
  """Each epoch puts all clients into a new secret order; its rounds are consecutive cohorts of that order.

  An epoch has `ceil(population / clients_per_round)` rounds; the last one has the clients that are left. Every client
  takes part in exactly one round of an epoch, whole epochs and the begun one: in at most `ceil(rounds / epoch)` rounds.
  That many Gaussians are what a run costs. No amplification by shuffling is counted.

  If not everyone is available, a round takes the first clients of the order that are available and have not taken part
  in this epoch. A client then takes part in at most one round of an epoch, and may miss it.

  Without one client the others keep their order, but later ones move to other rounds, and the number of clients decides
  how long an epoch is.
  """

  def cohort(self, draw: base.Draw) -> np.ndarray:
    clients, length = draw.size.clients_per_round, _epoch(draw.size)
    epoch, position = divmod(draw.step, length)
    order = draw.order('epoch', epoch)
    if draw.available is None:
      return order[position * clients : (position + 1) * clients]
    is_left = draw.available & (draw.invitations().last_step < epoch * length)
    return order[is_left[order]][:clients]

  def event(self, one_round: 'dp_accounting.DpEvent', size: base.Size, rounds: int) -> 'dp_accounting.DpEvent':
    import dp_accounting

    return dp_accounting.SelfComposedDpEvent(one_round, self.most_rounds(size, rounds))

  def most_rounds(self, size: base.Size, rounds: int) -> int:
    return -(-rounds // _epoch(size))

  def min_gap(self, size: base.Size) -> int:
    return 1  # The last round of an epoch, and the first of the next.

  def describe(self, size: base.Size) -> str:
    return (
      f'cyclic: each of {size.population} clients at most once in an epoch of {_epoch(size)} rounds, in an order of '
      'each epoch'
    )

  @property
  def bound(self) -> str:
    return (
      'With cyclic cohorts this is the bound against an observer who knows who took part in every round: a client pays '
      'for one round of each epoch. --sampling=poisson usually costs less at the same noise'
    )


def _epoch(size: base.Size) -> int:
  """Returns the rounds of an epoch."""
  return -(-size.population // size.clients_per_round)
