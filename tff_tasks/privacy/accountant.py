"""What rounds cost: privacy loss distributions of Gaussian noise on the sum over the clients of a round.

Neighboring data sets differ in one client, whose data is replaced by none (zero-out): its update becomes zero, and
everything else, the cohorts included, stays as it is. dp_accounting calls this relation REPLACE_SPECIAL.

The samplers say what rounds cost, as events of dp_accounting: a Gaussian for a round that surely has the client, a
Poisson-subsampled one if a secret coin decides, a mixture of a Gaussian and nothing if the observer knows the cohorts.
"""

from collections.abc import Iterable, Iterator
import ctypes
import functools
from importlib import metadata
import math
from typing import Any

import dp_accounting
from dp_accounting import pld
import numpy as np
from scipy import fft

from contracts import guarantees
from tff_tasks.population.samplers import events as events_lib

RELATION = dp_accounting.NeighboringRelation.REPLACE_SPECIAL
# Grid of the privacy loss at a noise multiplier of 1 and more: a finer one changes epsilon in the fifth digit. Losses
# grow as the square of 1 / noise, and so does the grid with them; it is rounded up, so epsilon is never too small.
_INTERVAL = 1e-3
# With less noise, a single round that has the client costs more than any epsilon of use, and no accounting is needed.
_LEAST_NOISE = 0.05
# Lengths of short transforms, whose plans replace those of long ones: SciPy keeps the last 16.
_FIRST_LENGTH, _PLANS_KEPT = 4, 16


def epsilon(events: Iterable[dp_accounting.DpEvent], delta: float) -> float:
  """Returns the epsilon at delta of the models of all rounds; infinite above `guarantees.LARGEST_EPSILON`.

  Args:
    events: What the rounds cost, in any order: each may depend on the models before it.
    delta: Of (epsilon, delta).

  Raises:
    ValueError: If it cannot account for an event.
  """
  counts: dict[dp_accounting.DpEvent, int] = {}
  for event in events:
    for kind, number in _split(event, 1):
      counts[kind] = counts.get(kind, 0) + number
  return _epsilon(tuple(counts.items()), delta) if counts else 0.0


def check(event: dp_accounting.DpEvent) -> None:
  """Checks that it can account for an event.

  Raises:
    ValueError: If it cannot.
  """
  for kind, _ in _split(event, 1):
    _read(kind)


def describe(events: Iterable[dp_accounting.DpEvent]) -> dict[str, Any]:
  """Returns what the ledger says of the accountant."""
  return {
    'accountant': 'dp_accounting, privacy loss distributions (PLD)',
    'accountant_version': metadata.version('dp-accounting'),
    'neighboring_relation': RELATION.name,
    'discretization': _interval(kind for event in events for kind, _ in _split(event, 1)),
  }


def _split(event: dp_accounting.DpEvent, times: int) -> Iterator[tuple[dp_accounting.DpEvent, int]]:
  """Yields the kinds of rounds that an event is composed of, with how many there are."""
  if isinstance(event, dp_accounting.SelfComposedDpEvent):
    if event.count:
      yield from _split(event.event, times * event.count)
  elif isinstance(event, dp_accounting.ComposedDpEvent):
    for part in event.events:
      yield from _split(part, times)
  elif not isinstance(event, dp_accounting.NoOpDpEvent):
    yield event, times


def _read(kind: dp_accounting.DpEvent) -> tuple[float, float, float]:
  """Returns of one kind of round: the noise multiplier, the probability of its secret coin, and that it has the client.

  Raises:
    ValueError: If it is not a kind that can be accounted for.
  """
  secret, known, noisy = 1.0, 1.0, kind
  if isinstance(kind, dp_accounting.PoissonSampledDpEvent):
    secret, noisy = kind.sampling_probability, kind.event
  elif isinstance(kind, events_lib.KnownCohortDpEvent):
    known, noisy = kind.probability, kind.event
  if not isinstance(noisy, dp_accounting.GaussianDpEvent) or not (0 <= secret <= 1 and 0 <= known <= 1):
    raise ValueError(
      f'Expected rounds that are a Gaussian, Poisson-sampled or in a known cohort, composed, found {kind}: this '
      'accountant has no proof for that; return such events from the sampler and the mechanism.'
    )
  return noisy.noise_multiplier, secret, known


@functools.lru_cache(maxsize=4096)  # The last round is asked for again and again.
def _epsilon(rounds: tuple[tuple[dp_accounting.DpEvent, int], ...], delta: float) -> float:
  kinds = [kind for kind, _ in rounds]
  if min(_read(kind)[0] for kind in kinds) < _LEAST_NOISE:
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


def _interval(kinds: Iterable[dp_accounting.DpEvent]) -> float:
  """Returns the grid of the privacy loss; distributions compose only on the same grid."""
  least = min((_read(kind)[0] for kind in kinds), default=1.0)
  return _INTERVAL * max(1.0, least**-2)


# What a round costs takes far longer to work out than to compose with itself, which accountants do in one.
@functools.lru_cache(maxsize=8)
def _losses(kind: dp_accounting.DpEvent, interval: float) -> pld.privacy_loss_distribution.PrivacyLossDistribution:
  """Returns the distribution of the privacy loss of one round."""
  noise_multiplier, secret, known = _read(kind)
  losses = pld.privacy_loss_distribution.from_gaussian_mechanism(
    noise_multiplier,
    value_discretization_interval=interval,
    sampling_prob=secret,
    neighboring_relation=RELATION,
  )
  if known == 1.0:
    return losses
  nothing = pld.privacy_loss_distribution.identity(value_discretization_interval=interval)
  return losses.compute_mixture(nothing, known)
