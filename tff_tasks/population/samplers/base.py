"""What a sampler is: a frozen dataclass whose fields are its options. It says who takes part in a round.

One of your own is a class such as this, in a module that can be imported. It invites those first who were invited least
often. `--sampling=my_package.my_module:LeastInvited --sampling_options=seldom=true` trains with it:

    import dataclasses
    import dp_accounting
    import numpy as np
    from tff_tasks.population.samplers import base

    @dataclasses.dataclass(frozen=True)
    class LeastInvited(base.Sampler):
      seldom: bool = True

      def cohort(self, draw):
        order = draw.order('cohort', draw.round_number)
        times = draw.invitations().times[order]
        return order[np.argsort(times if self.seldom else -times, kind='stable')][: draw.size.clients_per_round]

      def event(self, one_round, size, rounds):
        return dp_accounting.SelfComposedDpEvent(one_round, rounds)

A sampler knows the ids of the clients only through secret coins and a secret order, and knows who was invited before.
It does not know what any client has or answered. So cohorts do not depend on the data, and a neighboring data set has
the same ones.
"""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
  import dp_accounting


class Size(NamedTuple):
  """How many clients there are.

  Attributes:
    population: All training clients, those without data included.
    clients_per_round: Those that a round asks for; what sums are divided by.
  """

  population: int
  clients_per_round: int


class Invitations(NamedTuple):
  """Who was invited before, since the run has its secret: read-only int64 `[population]`.

  Attributes:
    times: How often.
    last_step: In which step for the last time; -1: never.
  """

  times: np.ndarray
  last_step: np.ndarray


class Draw(NamedTuple):
  """What a cohort is drawn from.

  Attributes:
    round_number: The round, from 1. A branch counts on.
    step: The rounds before this one with the same secret: 0 in the first round, and in the first of a branch.
    size: How many clients there are and are asked for.
    coins: Returns uint64 `[population]` for a purpose and a number: for each client a secret random number, which
      follows from its id and from no other client.
    order: Returns int64 `[population]` for a purpose and a number: the clients, sorted by those coins.
    invitations: Returns who was invited before this round. After a resume, it draws the earlier cohorts again.
    available: Bool `[population]`: who can be invited; None: everyone. Others are removed from what `cohort` returns.
  """

  round_number: int
  step: int
  size: Size
  coins: Callable[[str, int], np.ndarray]
  order: Callable[[str, int], np.ndarray]
  invitations: Callable[[], Invitations]
  available: np.ndarray | None = None


class Sampler(abc.ABC):
  """A frozen dataclass that derives from this. Its fields are options: each an int, float, bool or str."""

  @abc.abstractmethod
  def cohort(self, draw: Draw) -> np.ndarray:
    """Returns the cohort of a round: different indices of clients, in any order, possibly none."""

  def event(self, one_round: 'dp_accounting.DpEvent', size: Size, rounds: int) -> 'dp_accounting.DpEvent':
    """Returns the cost of the first `rounds` rounds drawn with one secret; without this method, noise is refused.

    It has to be so that cost(a) + cost(b) >= cost(a + b).

    Args:
      one_round: The cost of a round in which the client certainly takes part.
      size: How many clients there are.
      rounds: How many rounds.

    Raises:
      ValueError: If that is not known.
    """
    raise ValueError(
      f'Expected a sampler that says what rounds cost, found {type(self).__name__} without the method event: add it '
      '(docs/extend.md), or train without noise (--noise_multiplier=0 --target_epsilon=0).'
    )

  def most_rounds(self, size: Size, rounds: int) -> int:
    """Returns in how many of the first `rounds` rounds of one secret a client can take part at most.

    It has to be so that most(a) + most(b) >= most(a + b), whoever is available.
    """
    return rounds

  def min_gap(self, size: Size) -> int | None:
    """Returns the smallest difference of the numbers of two rounds that may have the same client, within one secret.

    1: consecutive rounds may. None if a client may take part in any round, as often as it happens. Correlated noise
    needs a bound.
    """
    return None

  def most_clients(self, population: int) -> int:
    """Returns the largest number of clients that a round can ask for."""
    return population

  def describe(self, size: Size) -> str:
    """Says for the ledger how a round gets its clients."""
    return f'{self!r}: about {size.clients_per_round} of {size.population} clients a round'

  @property
  def bound(self) -> str:
    """Says for the ledger which bound `event` is, if it is not exact."""
    return ''


def are_below(coins: np.ndarray, probability: float) -> np.ndarray:
  """Returns bools: which coins come up with the probability, or with the next lower multiple of 2**-64."""
  # Rounded down, so that nobody takes part more often than accounted for.
  threshold = int(probability * 2.0**64)
  return coins <= np.uint64(threshold - 1) if threshold else np.zeros(coins.shape, bool)
