"""SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378, algorithm 1, option II): client drift is corrected."""

import dataclasses
from typing import Any

import numpy as np

from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm


@dataclasses.dataclass(frozen=True)
class Scaffold(local_algorithm.LocalAlgorithm):
  """FedAvg whose clients correct each step by what they know of their own gradient and of everybody's.

  A client keeps its control variate, an estimate of its own gradient. The server sends the mean of all of them, where
  clients that never took part count as zero. That mean changes by a sum without noise: not for private runs.
  """

  def check(self, config: Any) -> None:
    base.refuse_noise('scaffold', 'control variates', config)
    base.refuse_weights('scaffold', config)
    base.refuse_optimizer('scaffold', config, 'sgd')

  def memory_size(self, context: base.Context) -> int:
    return context.num_weights

  def initial_shared(self, context: base.Context) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros_like(weight) for weight in context.model.initial_weights)

  def next_shared(self, context: base.Context, shared: Any, sums: Any) -> tuple[Any, ...]:
    return tuple(one + change / context.population for one, change in zip(shared, sums, strict=True))

  def prepare(self, client: local_algorithm.Client) -> tuple[Any, ...]:
    return local_algorithm.subtract(client.shared, local_algorithm.split(client.memory, client.initial))

  def adjust(
    self, client: local_algorithm.Client, weights: local_algorithm.Weights, gradients: local_algorithm.Weights
  ) -> list[Any]:
    return [gradient + correction for gradient, correction in zip(gradients, client.prepared, strict=True)]

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    import tensorflow as tf

    delta = local_algorithm.subtract(client.initial, trained)
    # With plain SGD, the mean of the corrected gradients: (x - y) / (K * eta) in the paper.
    length = client.learning_rate * tf.cast(client.num_steps, tf.float32)
    changes = tuple(
      tf.math.divide_no_nan(moved, length) - all_ for moved, all_ in zip(delta, client.shared, strict=True)
    )
    memory = client.memory + local_algorithm.flatten(changes)
    return local_algorithm.Update(delta, changes, memory)
