"""What rounds cost: privacy loss distributions of Gaussian noise on the sum over the clients of a round.

Neighbouring data sets differ in one client, whose data is replaced by none (zero-out): its update becomes zero, and
everything else, the cohorts included, stays as it is. dp_accounting calls this relation REPLACE_SPECIAL.

Poisson sampling: the coin of a client is secret, which is what makes the round cheaper (Poisson-subsampled Gaussian).

Fixed cohorts: who is invited does not depend on the data, so the bound lets the observer know every cohort. A round
costs a Gaussian if it has the client, and nothing if it does not. A run is then a mixture over the number of rounds
that have the client, which is binomial. This is at most what full participation in every round would cost.
"""

from collections.abc import Iterable
import ctypes
import functools
from importlib import metadata
import math
from typing import Any, NamedTuple

import dp_accounting
from dp_accounting import pld
import numpy as np
from scipy import fft

from contracts import guarantees

RELATION = dp_accounting.NeighboringRelation.REPLACE_SPECIAL
# Grid of the privacy loss at a noise multiplier of 1 and more: a finer one changes epsilon in the fifth digit. Losses
# grow as the square of 1 / noise, and so does the grid with them; it is rounded up, so epsilon is never too small.
_INTERVAL = 1e-3
# With less noise, a single round that has the client costs more than any epsilon of use, and no accounting is needed.
_LEAST_NOISE = 0.05
# Lengths of short transforms, whose plans replace those of long ones: SciPy keeps the last 16.
_FIRST_LENGTH, _PLANS_KEPT = 4, 16


class Round(NamedTuple):
  """What decides the cost of one round.

  Attributes:
    sampling: 'poisson' or 'fixed'.
    probability: That a client takes part.
    noise_multiplier: Standard deviation of the noise on the sum, over the largest L2 norm of one client's update.
  """

  sampling: str
  probability: float
  noise_multiplier: float


def epsilon(rounds: Iterable[tuple[Round, int]], delta: float) -> float:
  """Returns the epsilon at delta of the models of all rounds; infinite above `guarantees.LARGEST_EPSILON`.

  Args:
    rounds: Kinds of rounds with how many of each, in any order: each may depend on the models before it.
    delta: Of (epsilon, delta).
  """
  counts: dict[Round, int] = {}
  for kind, number in rounds:
    if number:
      counts[kind] = counts.get(kind, 0) + number
  return _epsilon(tuple(counts.items()), delta) if counts else 0.0


def describe(rounds: Iterable[Round]) -> dict[str, Any]:
  """Returns what the ledger says of the accountant."""
  return {
    'accountant': 'dp_accounting, privacy loss distributions (PLD)',
    'accountant_version': metadata.version('dp-accounting'),
    'neighboring_relation': RELATION.name,
    'discretization': _interval(rounds),
  }


@functools.lru_cache(maxsize=4096)  # The last round is asked for again and again.
def _epsilon(rounds: tuple[tuple[Round, int], ...], delta: float) -> float:
  kinds = [kind for kind, _ in rounds]
  if min(kind.noise_multiplier for kind in kinds) < _LEAST_NOISE:
    return math.inf
  interval = _interval(kinds)
  composed = [_losses(kind, interval).self_compose(number) for kind, number in rounds]
  losses = functools.reduce(lambda first, second: first.compose(second), composed)
  _release_memory()
  # Asked first: the search for epsilon overflows where epsilon is beyond all use.
  if losses.get_delta_for_epsilon(guarantees.LARGEST_EPSILON) > delta:
    return math.inf
  return float(losses.get_epsilon_for_delta(delta))


def _release_memory() -> None:
  """Gives back what composing took: each number of rounds has a length of its own, and the plan of its transform stays.

  SciPy keeps the last plans, and the C library the pieces of memory between them: tens of megabytes in a long run.
  """
  for length in range(_FIRST_LENGTH, _FIRST_LENGTH + _PLANS_KEPT):
    fft.ifft(fft.fft(np.ones(length)))
  # Of glibc; other C libraries do not have it.
  if trim := getattr(ctypes.CDLL(None), 'malloc_trim', None):
    trim(0)


def _interval(rounds: Iterable[Round]) -> float:
  """Returns the grid of the privacy loss; distributions compose only on the same grid."""
  least = min((kind.noise_multiplier for kind in rounds), default=1.0)
  return _INTERVAL * max(1.0, least**-2)


# What a round costs takes far longer to work out than to compose with itself, which accountants do in one.
@functools.lru_cache(maxsize=8)
def _losses(kind: Round, interval: float) -> pld.privacy_loss_distribution.PrivacyLossDistribution:
  """Returns the distribution of the privacy loss of one round."""
  is_secret = kind.sampling == 'poisson'
  losses = pld.privacy_loss_distribution.from_gaussian_mechanism(
    kind.noise_multiplier,
    value_discretization_interval=interval,
    sampling_prob=kind.probability if is_secret else 1.0,
    neighboring_relation=RELATION,
  )
  if is_secret or kind.probability == 1.0:
    return losses
  nothing = pld.privacy_loss_distribution.identity(value_discretization_interval=interval)
  return losses.compute_mixture(nothing, kind.probability)
