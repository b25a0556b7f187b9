"""FedDyn (Acar et al. 2021, arXiv 2111.04263, algorithm 1): each client adapts a regularizer from round to round."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm

if TYPE_CHECKING:
  import tensorflow_federated as tff


@dataclasses.dataclass(frozen=True)
class FedDyn(local_algorithm.LocalAlgorithm):
  """FedAvg whose clients minimize their loss less a linear term of their own, near the weights of the server.

  A client keeps that term, its gradient where it ended last. The server corrects the mean by the sum of all that
  clients moved so far, which it works out from the means: nothing else is sent, so clip and noise cover it. With
  `--server_optimizer=sgd --server_learning_rate=1` it is the algorithm of the paper.

  Attributes:
    alpha: Strength of the regularizer, above 0.
  """

  alpha: float

  def __post_init__(self) -> None:
    if not 0 < self.alpha < math.inf:
      raise ValueError(f'Expected alpha above 0, found {self.alpha}: give --algorithm_options=alpha=0.1 or the like.')

  def check(self, config: Any) -> None:
    base.refuse_weights('fed_dyn', config)

  def memory_size(self, context: base.Context) -> int:
    return context.num_weights

  def prepare(self, client: local_algorithm.Client) -> tuple[Any, ...]:
    own = local_algorithm.split(client.memory, client.initial)
    return tuple(mine + self.alpha * initial for mine, initial in zip(own, client.initial, strict=True))

  def adjust(
    self, client: local_algorithm.Client, weights: local_algorithm.Weights, gradients: local_algorithm.Weights
  ) -> list[Any]:
    # gradient - mine + alpha * (weight - initial)
    return [
      gradient + (self.alpha * weight - constant)
      for gradient, weight, constant in zip(gradients, weights, client.prepared, strict=True)
    ]

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    from tff_tasks.aggregation import private_mean

    delta = local_algorithm.subtract(client.initial, trained)
    # What the server gets: else client and server would disagree about how far the client moved, for ever.
    moved, _, _ = private_mean.clip(delta, client.context.clip_norm)
    memory = client.memory + self.alpha * local_algorithm.flatten(moved)
    return local_algorithm.Update(delta, memory=memory)

  def build_finalizer(self, context: base.Context) -> 'tff.learning.templates.FinalizerProcess':
    import tensorflow as tf

    from tff_tasks.algorithms import finalizers

    share = context.clients_per_round / context.population  # h / alpha in the paper is the sum of share * mean.

    def initial() -> tuple[Any, ...]:
      return tuple(tf.zeros(weight.shape) for weight in context.model.initial_weights)

    def correct(moved: Any, update: Any) -> tuple[Any, tuple[Any, ...]]:
      moved = tuple(far + share * mean for far, mean in zip(moved, update, strict=True))
      return moved, tuple(mean + far for mean, far in zip(update, moved, strict=True))

    return finalizers.build_corrected_finalizer(context, context.weights_type.trainable, initial, correct)
