"""FedProx (Li et al. 2020, arXiv 1812.06127, algorithm 2): clients whose weights stay near those of the server."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

from tff_tasks.algorithms import base


@dataclasses.dataclass(frozen=True)
class FedProx:
  """FedAvg whose clients minimize their loss plus `mu / 2 * ||weights - initial weights||^2`.

  TFF 0.87's FedProx has the term with the other sign, so its clients are driven away from the weights of the server.

  Attributes:
    mu: Strength of the proximal term; 0 is FedAvg.
  """

  mu: float

  def __post_init__(self) -> None:
    if not 0 <= self.mu < math.inf:
      raise ValueError(f'Expected mu of at least 0, found {self.mu}: give --algorithm_options=mu=0.1 or the like.')

  def build(self, model: Any, weights_type: Any, schema: Any, training: Any, server_optimizer: Any) -> base.Parts:
    from tff_tasks.algorithms import client_work

    def add_proximal_term(initial: Sequence[Any], weights: Sequence[Any], steps: Sequence[Any]) -> list[Any]:
      strength = training.learning_rate * self.mu
      return [step + strength * (weight - begin) for begin, weight, step in zip(initial, weights, steps, strict=True)]

    return base.Parts(
      client_work.build_client_work(model, weights_type, schema, training, add_proximal_term),
      client_work.build_finalizer(server_optimizer, weights_type),
    )
