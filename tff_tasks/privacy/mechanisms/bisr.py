"""Banded inverse square root (BISR): noise that is correlated between rounds. arXiv 2505.12128.

The model after round t depends on the sum of the updates of rounds 1 to t. Noise that later rounds take back disturbs
that sum less, at the same cost: matrix factorization, with A = B C for the matrix A that sums. The noise of the rounds
is C^-1 Z with independent Gaussians Z. Here C^-1 is a banded Toeplitz matrix whose coefficients are the first ones of
(1 - x)^(1/2): 1, -1/2, -1/8, ... So the noise of a round is made of the last `bandwidth` draws and needs no state.

The rounds together are one Gaussian mechanism with noise Z on C X, adaptively too (Denisov et al. 2022,
arXiv 2202.08312).
"""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

from tff_tasks.privacy.mechanisms import base

if TYPE_CHECKING:
  import dp_accounting

_MAX_BANDWIDTH = 256  # As many draws stay in memory.


@dataclasses.dataclass(frozen=True)
class Bisr(base.Mechanism):
  """Correlated Gaussian noise for samplers that bound how often and how closely a client takes part.

  Attributes:
    bandwidth: Of how many draws the noise of a round is made. 1: that of `gaussian`.
  """

  bandwidth: int = 4

  def __post_init__(self) -> None:
    if not 1 <= self.bandwidth <= _MAX_BANDWIDTH:
      raise ValueError(
        f'Expected bandwidth of 1 to {_MAX_BANDWIDTH}, found {self.bandwidth}: set --mechanism_options=bandwidth=4.'
      )

  def event(self, noise_multiplier: float, rounds: base.Rounds) -> 'dp_accounting.DpEvent':
    from tff_tasks.privacy.mechanisms import toeplitz

    return toeplitz.event(self.coefficients, noise_multiplier, rounds)

  def source(self, key: bytes, stddev: float, size: int, first_round: int) -> base.Source:
    from tff_tasks.privacy.mechanisms import correlated_gaussian

    return correlated_gaussian.CorrelatedGaussian(key, stddev, size, self.coefficients, first_round)

  @functools.cached_property
  def coefficients(self) -> tuple[float, ...]:
    """The first coefficients of (1 - x)^(1/2): the first column of C^-1, without the zeros."""
    found = [1.0]
    for power in range(1, self.bandwidth):
      found.append(found[-1] * (power - 1.5) / power)
    return tuple(found)

  @property
  def relative_stddev(self) -> float:
    return math.hypot(*self.coefficients)

  @property
  def exactness(self) -> str:
    return base.ROUNDED_GAUSSIAN

  def describe(self) -> str:
    return f'Gaussian noise, correlated over {self.bandwidth} rounds (banded inverse square root)'

  def bound(self, rounds: base.Rounds) -> str:
    from tff_tasks.privacy.mechanisms import toeplitz

    return toeplitz.BOUND
