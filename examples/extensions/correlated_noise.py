"""A privacy mechanism of one's own: each round takes back a part of the noise of the round before.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/correlated_noise \
    --mechanism=examples.extensions.correlated_noise:CorrelatedNoise --mechanism_options=taken_back=0.5 \
    --sampling=min_separation --sampling_options=separation=4
"""

import dataclasses
import math

import dp_accounting

from tff_tasks.privacy.mechanisms import base
from tff_tasks.privacy.mechanisms import correlated_gaussian
from tff_tasks.privacy.mechanisms import toeplitz


@dataclasses.dataclass(frozen=True)
class CorrelatedNoise(base.Mechanism):
  """Round t has the noise Z[t] - taken_back * Z[t - 1] of independent Gaussians Z.

  Attributes:
    taken_back: The part that the next round takes back.
  """

  taken_back: float = 0.5

  def __post_init__(self) -> None:
    if not 0 <= self.taken_back <= 1:
      raise ValueError(f'Expected taken_back of 0 to 1, found {self.taken_back}: set it in --mechanism_options.')

  def event(self, noise_multiplier: float, rounds: base.Rounds) -> dp_accounting.DpEvent:
    return toeplitz.event(self._coefficients, noise_multiplier, rounds)

  def source(self, key: bytes, stddev: float, size: int, first_round: int) -> base.Source:
    return correlated_gaussian.CorrelatedGaussian(key, stddev, size, self._coefficients, first_round)

  @property
  def relative_stddev(self) -> float:
    return math.hypot(*self._coefficients)

  @property
  def exactness(self) -> str:
    return base.ROUNDED_GAUSSIAN

  def describe(self) -> str:
    return f'Gaussian noise of which the next round takes back {self.taken_back:.0%}'

  def bound(self, rounds: base.Rounds) -> str:
    return toeplitz.BOUND

  @property
  def _coefficients(self) -> tuple[float, float]:
    return 1.0, -self.taken_back
