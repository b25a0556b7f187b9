"""An algorithm of one's own: FedAvg whose clients train the last layers only.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/frozen_layers \
    --algorithm=examples.extensions.frozen_layers:FrozenLayers --algorithm_options=frozen=1
"""

import dataclasses

import tensorflow as tf

from tff_tasks.algorithms import local_algorithm


@dataclasses.dataclass(frozen=True)
class FrozenLayers(local_algorithm.LocalAlgorithm):
  """FedAvg that leaves the first weights as they are, for instance those that another run has trained.

  Attributes:
    frozen: How many of the model's weight tensors, from the first, do not change.
  """

  frozen: int

  def __post_init__(self) -> None:
    if self.frozen < 0:
      raise ValueError(f'Expected frozen of at least 0, found {self.frozen}: give --algorithm_options=frozen=1.')

  def adjust(
    self, client: local_algorithm.Client, weights: local_algorithm.Weights, gradients: local_algorithm.Weights
  ) -> list[tf.Tensor]:
    frozen = [tf.zeros_like(gradient) for gradient in gradients[: self.frozen]]
    return [*frozen, *gradients[self.frozen :]]
