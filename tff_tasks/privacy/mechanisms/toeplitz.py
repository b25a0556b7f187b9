"""What correlated noise costs: C^-1 Z with a banded lower triangular Toeplitz matrix C^-1.

All rounds together are the Gaussian mechanism with noise Z on C X, where X has the updates of the rounds as rows. What
one client can change of C X is its sensitivity. For a C whose coefficients are not negative and do not grow, the worst
that a client can do is to take part as early, as often and as densely as it may, with the same update each time:
Kalinin and Lampert 2024 (arXiv 2405.13763), theorem 2.
"""

from collections.abc import Sequence
import functools

import dp_accounting
import numpy as np

from tff_tasks.privacy.mechanisms import base

BOUND = (
  'With correlated noise, sampling is not counted as hiding a client: each pays for every round that --sampling allows '
  'it, as close together as it allows them'
)

# More than what float64 can lose in sums of that many squares: sensitivities are never too small.
_SLACK = 1e-9


def event(coefficients: Sequence[float], noise_multiplier: float, rounds: base.Rounds) -> dp_accounting.DpEvent:
  """Returns what the rounds cost: one Gaussian.

  Whether a client takes part in a round that it may be in is not counted as secret: there is no proof that Poisson
  sampling makes noise of this kind cheaper.

  Args:
    coefficients: The first column of C^-1, without the zeros that follow.
    noise_multiplier: The standard deviation of Z over the largest norm of an update.
    rounds: The rounds.

  Raises:
    ValueError: If the sampler lets a client take part in every round or gives a bound below 1, or the coefficients have
      no such proof.
  """
  gap = rounds.min_gap
  if gap is None:
    raise ValueError(
      'Expected a sampler that bounds how often a client takes part, found one that may invite it in every round: with '
      'correlated noise, its coins are not counted (there is no proof that they hide a client); set '
      '--sampling=min_separation --sampling_options=separation=4, --sampling=cyclic, or --mechanism=gaussian.'
    )
  if not rounds.number:
    return dp_accounting.NoOpDpEvent()
  for method, found in (('min_gap', gap), ('most_rounds', rounds.participations)):
    if found < 1:
      raise ValueError(
        f'Expected at least 1 from {method} of the sampler {type(rounds.sampler).__name__}, found {found}: correct it '
        '(docs/extend.md).'
      )
  return dp_accounting.GaussianDpEvent(
    noise_multiplier / sensitivity(tuple(coefficients), rounds.number, rounds.participations, gap)
  )


@functools.lru_cache(maxsize=1024)  # The noise for a target epsilon is searched for with the same rounds.
def sensitivity(coefficients: tuple[float, ...], rounds: int, participations: int, gap: int) -> float:
  """Returns the largest L2 norm of what one client adds to C X, with updates of norm at most 1, rounded up.

  Args:
    coefficients: The first column of C^-1, without the zeros that follow.
    rounds: The rows of C.
    participations: The most rounds that have the client.
    gap: The smallest difference of the numbers of two of them; 1: they may be consecutive.

  Raises:
    ValueError: If the coefficients of C are negative or grow.
  """
  column = inverse(coefficients, rounds)
  if not np.isfinite(column).all() or (column < 0).any() or (np.diff(column) > 0).any():
    raise ValueError(
      'Expected correlated noise C^-1 Z with a C whose coefficients are not negative and do not grow, found '
      f'{", ".join(f"{value:.4g}" for value in column[:5])}, ... for C^-1 = {coefficients}: there is no proof of its '
      'sensitivity; change the coefficients.'
    )
  total = np.zeros(rounds)
  for first in range(0, min(participations * gap, rounds), gap):
    total[first:] += column[: rounds - first]
  return float(np.linalg.norm(total)) * (1 + _SLACK)


def inverse(coefficients: Sequence[float], rounds: int) -> np.ndarray:
  """Returns float64 `[rounds]`, the first column of the inverse of a lower triangular Toeplitz matrix.

  Args:
    coefficients: The first column of the matrix, without the zeros that follow; the first one is not 0.
    rounds: Its rows.
  """
  below = -np.array(coefficients[1:])[::-1]
  padded = np.zeros(len(below) + rounds)
  padded[len(below)] = 1 / coefficients[0]
  for row in range(1, rounds):
    padded[len(below) + row] = below @ padded[row : len(below) + row] / coefficients[0]
  return padded[len(below) :]
