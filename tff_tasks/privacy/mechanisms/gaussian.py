"""Gaussian noise, independent in each round: DP-FedAvg, McMahan et al. 2018 (arXiv 1710.06963)."""

import dataclasses
from typing import TYPE_CHECKING

from tff_tasks.privacy.mechanisms import base

if TYPE_CHECKING:
  import dp_accounting


@dataclasses.dataclass(frozen=True)
class Gaussian(base.Mechanism):
  """The Gaussian mechanism on the sum of each round. Sampling makes it cheaper, as the sampler says."""

  def event(self, noise_multiplier: float, rounds: base.Rounds) -> 'dp_accounting.DpEvent':
    import dp_accounting

    return rounds.independent(dp_accounting.GaussianDpEvent(noise_multiplier))

  def source(self, key: bytes, stddev: float, size: int, first_round: int) -> base.Source:
    from tff_tasks.privacy.mechanisms import noise

    return noise.RoundedGaussian(key, stddev, size)

  @property
  def exactness(self) -> str:
    return base.ROUNDED_GAUSSIAN

  def describe(self) -> str:
    return 'Gaussian noise'
