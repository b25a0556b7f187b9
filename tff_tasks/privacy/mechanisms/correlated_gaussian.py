"""Noise that is correlated between rounds: a fixed linear combination of the last Gaussian draws, rounded once.

Every draw is the real number that its random bits stand for, as in `noise`. What is computed in float64 is taken only
where its error cannot change the rounded result; elsewhere, as many digits are used as decide it. So the noise of a
round is the combination of Gaussians with their whole tails, rounded: S + round(N) = round(S + N).
"""

from collections.abc import Sequence
import fractions
import functools

import numpy as np
from scipy import special

from tff_tasks.privacy.mechanisms import noise

# Draws that float64 has with an error of at most _ERROR, in standard deviations: those of tails of _LEAST_TAIL * 2**-64
# and more. The bits that follow move them by 1.26 * 2**-46 at most, and `special.ndtri` is wrong by 7.2e-16 of them.
# The others are worked out exactly, and then rounded.
_LEAST_TAIL = 1 << 46
_ERROR = 2.0**-45
_LARGEST = 10.0  # A draw beyond it, once in 10**23, is not put into float64.
_BITS = 64  # Of a Gaussian, behind the point, at first.


class CorrelatedGaussian:
  """Draws the noise of rounds: round t has `stddev * sum(coefficients[i] * Z[t - i])`, with standard Gaussians Z.

  Rounds before `first_round` have no Z. The last draws stay in memory, one for each coefficient.

  Args:
    key: 32 secret bytes.
    stddev: The standard deviation of one draw, in steps of the grid; at most 2**36.
    size: How many numbers a round takes.
    coefficients: What the draws are multiplied by, that of the same round first.
    first_round: The first round that the key draws.

  Raises:
    ValueError: If the standard deviation is out of range.
  """

  def __init__(self, key: bytes, stddev: float, size: int, coefficients: Sequence[float], first_round: int) -> None:
    noise.check_stddev(stddev)
    self._words, self._stddev, self._size = noise.Words(key), stddev, size
    self._coefficients, self._first_round = tuple(coefficients), first_round
    self._normals = functools.lru_cache(maxsize=len(coefficients))(self._draw_normals)

  def draw(self, round_number: int) -> np.ndarray:
    """Returns int64 `[size]`, the noise of a round: always the same for the same key, first round and round.

    Raises:
      ValueError: If it is a round before the first one.
    """
    if round_number < self._first_round:
      raise ValueError(f'Expected a round from {self._first_round} on, found {round_number}.')
    used = self._coefficients[: round_number - self._first_round + 1]
    scaled = np.zeros(self._size)
    for back in reversed(range(len(used))):  # The oldest first: it is the one that the cache drops next.
      scaled += (self._stddev * used[back]) * self._normals(round_number - back)
    levels = np.rint(scaled)
    # The second part is for the sum above, in float64.
    error = self._stddev * sum(map(abs, used)) * (_ERROR + (len(used) + 2) * _LARGEST * 2.0**-53)
    # What is not a number is not certain, either.
    is_certain = 0.5 - np.abs(scaled - levels) > error
    levels[~is_certain] = 0.0
    result = levels.astype(np.int64)
    for index in np.flatnonzero(~is_certain).tolist():
      result[index] = self._decide(round_number, index, used)
    return result

  def _draw_normals(self, round_number: int) -> np.ndarray:
    """Returns float64 `[size]`, the standard Gaussians of a round; NaN beyond `_LARGEST`."""
    normals = np.empty(self._size)
    for first, words in self._words.of_round(round_number, self._size):
      tails = (words >> np.uint64(1)).view(np.int64)
      part = special.ndtri(tails * 2.0**-64)
      part[(words & np.uint64(1)) == 0] *= -1
      for index in np.flatnonzero(tails < _LEAST_TAIL).tolist():
        tail, sign = self._words.number(round_number, first + index)
        exact = tail.scaled(_BITS) * 2.0**-_BITS
        part[index] = sign * exact if exact < _LARGEST else np.nan
      normals[first : first + len(words)] = part
    return normals

  def _decide(self, round_number: int, index: int, used: Sequence[float]) -> int:
    """Returns the noise of one coordinate, with as many digits as it takes."""
    draws = [self._words.number(round_number - back, index) for back in range(len(used))]
    exact = [fractions.Fraction(self._stddev) * fractions.Fraction(coefficient) for coefficient in used]
    bits = _BITS
    while True:
      fine = [sign * tail.scaled(bits) for tail, sign in draws]
      total = sum(factor * level for factor, level in zip(exact, fine, strict=True)) / 2**bits
      error = sum(map(abs, exact)) / 2 ** (bits + 1)
      lowest, highest = round(total - error), round(total + error)
      if lowest == highest:
        return lowest
      bits += _BITS
