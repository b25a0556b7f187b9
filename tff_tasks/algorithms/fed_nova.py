"""FedNova (Wang et al. 2020, arXiv 2007.07481, section 4): clients that take different numbers of steps do no harm."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm

if TYPE_CHECKING:
  import tensorflow_federated as tff


@dataclasses.dataclass(frozen=True)
class FedNova(local_algorithm.LocalAlgorithm):
  """FedAvg that averages the updates per step, and multiplies the mean by the steps of a client.

  FedAvg ends at the minimum of another objective, in which clients count by their steps.

  Attributes:
    effective_steps: By how many steps the mean is multiplied. 0: by the mean of the steps of those who took part, which
      travel in the update; a clip would clip them too, so a number is needed where updates are clipped.
  """

  effective_steps: float = 0.0

  def __post_init__(self) -> None:
    if not 0 <= self.effective_steps < math.inf:
      raise ValueError(
        f'Expected effective_steps of at least 0, found {self.effective_steps}: leave it out, or set one.'
      )

  def check(self, config: Any) -> None:
    base.refuse_optimizer('fed_nova', config, 'sgd', 'momentum')
    if config.clip_norm and not self.effective_steps:
      raise ValueError(
        'Expected effective_steps with --algorithm=fed_nova and --clip_norm, found none: set the steps of a typical '
        'client, such as --algorithm_options=effective_steps=5.'
      )

  def update_size(self, context: base.Context) -> int:
    return super().update_size(context) + (0 if self.effective_steps else 2)

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    import tensorflow as tf

    length = self._length(client)
    delta = local_algorithm.subtract(client.initial, trained)
    update = tuple(tf.math.divide_no_nan(moved, length) for moved in delta)
    return local_algorithm.Update(update if self.effective_steps else (*update, length, tf.ones([])))

  def build_finalizer(self, context: base.Context) -> 'tff.learning.templates.FinalizerProcess':
    import tensorflow as tf
    import tensorflow_federated as tff

    from tff_tasks.algorithms import finalizers

    types = list(context.weights_type.trainable)
    numbers = [] if self.effective_steps else [tff.TensorType(np.float32)] * 2
    update_type = tff.to_type((*types, *numbers))

    def correct(state: Any, update: Any) -> tuple[Any, tuple[Any, ...]]:
      moves, numbers = list(update)[: len(types)], list(update)[len(types) :]
      # A mean is a sum over the expected number of clients: the mean of ones says how many of them came.
      length = tf.math.divide_no_nan(*numbers) if numbers else self.effective_steps
      return state, tuple(length * moved for moved in moves)

    return finalizers.build_corrected_finalizer(context, update_type, tuple, correct)

  def _length(self, client: local_algorithm.Client) -> Any:
    """Returns the sum of the coefficients that the steps' gradients have in an update, in learning rates."""
    import tensorflow as tf

    from tff_tasks.algorithms import local_sgd

    steps = tf.cast(client.num_steps, tf.float32)
    if client.context.training.optimizer == 'sgd':
      return steps
    # Momentum: the gradient of k steps before the last has the coefficient 1 + m + ... + m^k.
    momentum = local_sgd.MOMENTUM
    return (steps - momentum * (1 - momentum**steps) / (1 - momentum)) / (1 - momentum)
