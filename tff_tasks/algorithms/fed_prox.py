"""FedProx (Li et al. 2020, arXiv 1812.06127, algorithm 2): clients whose weights stay near those of the server."""

import dataclasses
import math
from typing import Any

from tff_tasks.algorithms import local_algorithm


@dataclasses.dataclass(frozen=True)
class FedProx(local_algorithm.LocalAlgorithm):
  """FedAvg whose clients minimize their loss plus `mu / 2 * ||weights - initial weights||^2`.

  TFF 0.87's FedProx has the term with the other sign, so its clients are driven away from the weights of the server.

  Attributes:
    mu: Strength of the proximal term; 0 is FedAvg.
  """

  mu: float

  def __post_init__(self) -> None:
    if not 0 <= self.mu < math.inf:
      raise ValueError(f'Expected mu of at least 0, found {self.mu}: give --algorithm_options=mu=0.1 or the like.')

  def adjust(
    self, client: local_algorithm.Client, weights: local_algorithm.Weights, gradients: local_algorithm.Weights
  ) -> list[Any]:
    pairs = zip(gradients, weights, client.initial, strict=True)
    return [gradient + self.mu * (weight - initial) for gradient, weight, initial in pairs]
