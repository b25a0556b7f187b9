"""What a privacy mechanism is: a frozen dataclass whose fields are its options. It says what noise the rounds have.

One of your own is a class such as this, in a module that can be imported. It adds more noise than was asked for.
`--mechanism=my_package.my_module:Louder --mechanism_options=factor=3.0` trains with it:

    import dataclasses
    import dp_accounting
    from tff_tasks.privacy.mechanisms import base
    from tff_tasks.privacy.mechanisms import noise

    @dataclasses.dataclass(frozen=True)
    class Louder(base.Mechanism):
      factor: float = 2.0

      def event(self, noise_multiplier, rounds):
        return rounds.independent(dp_accounting.GaussianDpEvent(self.factor * noise_multiplier))

      def source(self, key, stddev, size, first_round):
        return noise.RoundedGaussian(key, self.factor * stddev, size)

      @property
      def relative_stddev(self):
        return self.factor

Why this is not a `tensorflow_privacy.DPQuery`: a query draws its noise with `tf.random`, as floats, inside the round.
The tail of those normals is cut, floats on a sum leak through their lowest bits, and a resumed round would have to get
the same state. Here noise is whole numbers for a sum of whole numbers, drawn outside of the round, and a function of a
secret and of the number of the round: a resume draws the same noise again. And accounting is for all rounds together,
because the noise of a round may depend on that of others.
"""

import abc
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tff_tasks.population.samplers import base as samplers_base

if TYPE_CHECKING:
  import dp_accounting
  import numpy as np

CENTRAL = (
  'the guarantee protects each client against whoever gets what is released, not against that machine or its operator'
)
CLIENT = 'client'
# How well the noise of `noise` and `correlated_gaussian` is what it is taken for.
ROUNDED_GAUSSIAN = (
  'Gaussian noise with its whole tail, rounded to the grid of the sum: exact for true random bits, '
  'which are those of AES-256 in counter mode'
)


class Rounds(NamedTuple):
  """The first rounds that one secret draws, as far as their cost depends on them.

  Attributes:
    number: How many.
    sampler: Who takes part in them.
    size: How many clients there are and are asked for.
    is_everyone_available: Whether everyone can be invited, always; if not, who can may depend on the client.
  """

  number: int
  sampler: samplers_base.Sampler
  size: samplers_base.Size
  is_everyone_available: bool = True

  def independent(self, one_round: 'dp_accounting.DpEvent') -> 'dp_accounting.DpEvent':
    """Returns the cost of the rounds if the noise of each is independent of the noise of the others.

    Sampling is counted only where everyone can be invited, always: else a round that the client can be in costs what it
    costs a client that certainly takes part.

    Args:
      one_round: The cost of a round in which the client certainly takes part.

    Raises:
      ValueError: If the sampler does not know.
    """
    import dp_accounting

    event = self.sampler.event(one_round, self.size, self.number)
    if self.is_everyone_available:
      return event
    return dp_accounting.SelfComposedDpEvent(one_round, self.participations)

  @property
  def participations(self) -> int:
    """In how many of the rounds a client can take part at most."""
    return self.sampler.most_rounds(self.size, self.number)

  @property
  def min_gap(self) -> int | None:
    """The smallest difference of the numbers of two rounds that may have the same client.

    1: consecutive rounds may. None: no rule keeps them apart.
    """
    return self.sampler.min_gap(self.size)

  @property
  def bound(self) -> str:
    """Says which bound `independent` is; empty if it is exact."""
    if self.is_everyone_available:
      return self.sampler.bound
    return (
      'With --availability sampling is not counted as hiding a client: each pays for every round that --sampling '
      'allows it. Who is available when is taken as public. Without --availability, --sampling=poisson usually costs '
      'less at the same noise'
    )


class Source(Protocol):
  """Where the noise of rounds comes from. It may keep what it has drawn, but a new one has to draw the same."""

  def draw(self, round_number: int) -> 'np.ndarray':
    """Returns int64 `[size]`: the noise of a round, a function of the key, the first round and this one."""


class Mechanism(abc.ABC):
  """A frozen dataclass that derives from this. Its fields are options: each an int, float, bool or str.

  The noise multiplier is the standard deviation of one draw over the largest norm of what one client adds to the sum of
  a round, after rounding.
  """

  @abc.abstractmethod
  def event(self, noise_multiplier: float, rounds: Rounds) -> 'dp_accounting.DpEvent':
    """Returns what the first rounds that are drawn with one secret cost a client, all together.

    Two clients' data sets are neighbors if the update of one client is replaced by zeros, in all rounds.

    Args:
      noise_multiplier: Above 0.
      rounds: The rounds: any number from 0.

    Raises:
      ValueError: If there is no proof for this sampler. The message says what to set instead.
    """

  @abc.abstractmethod
  def source(self, key: bytes, stddev: float, size: int, first_round: int) -> Source:
    """Returns the noise of the rounds that one secret draws.

    Args:
      key: 32 bytes that nobody else knows, for these rounds only.
      stddev: The standard deviation of one draw, in steps of the grid of the sum.
      size: How many numbers a round takes.
      first_round: The first round that the key draws: 1, or later in a branch, or where rounds are run again.
    """

  @property
  def relative_stddev(self) -> float:
    """The largest standard deviation of the noise of a round, over that of one draw."""
    return 1.0

  @property
  def unit(self) -> str:
    """Whose data the event protects. The plan knows one unit: `client`, with all of its data."""
    return CLIENT

  @property
  def trust(self) -> str:
    """Whom the noise protects against, for the ledger."""
    return CENTRAL

  @property
  def exactness(self) -> str:
    """Says for the ledger how well the noise is what `event` takes it for."""
    return f'as {type(self).__name__} makes it, which is not checked here'

  def describe(self) -> str:
    """Says for the ledger what is added to the sum."""
    return f'{self!r}: noise'

  def bound(self, rounds: Rounds) -> str:
    """Says for the ledger which bound `event` is; empty if it is exact."""
    return rounds.bound
