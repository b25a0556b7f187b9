"""FedRecon (Singhal et al. 2021, arXiv 2102.03448, algorithm 1): local layers never leave the client."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from contracts import personalization
from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from tff_tasks.algorithms import local_sgd

# Between the names of layers: a comma separates options.
_SEPARATOR = '+'


@dataclasses.dataclass(frozen=True)
class FedRecon(local_algorithm.LocalAlgorithm):
  """FedAvg of some layers; the others are local: each client reconstructs them in each round and sends nothing of them.

  Reconstruction begins with the weights that the run began with, and is plain SGD on a random half of the client's
  examples, with the other layers frozen. The client then trains the other layers on the other half, with the
  reconstructed ones frozen.

  Attributes:
    local_layers: The names of the local layers, with `+` between them.
    reconstruction_epochs: Passes over the examples to reconstruct on.
    reconstruction_learning_rate: Of reconstruction; 0: --client_learning_rate.
    split: Whether the halves are disjoint; if not, both stages use all examples.
  """

  local_layers: str
  reconstruction_epochs: int = 1
  reconstruction_learning_rate: float = 0.0
  split: bool = True

  def __post_init__(self) -> None:
    if not all(self.local_layers.split(_SEPARATOR)):
      raise ValueError(
        f'Expected local_layers with names of layers, found {self.local_layers!r}: give '
        f'--algorithm_options=local_layers=logits, or several as dense{_SEPARATOR}logits.'
      )
    if self.reconstruction_epochs < 1:
      raise ValueError(
        f'Expected reconstruction_epochs of at least 1, found {self.reconstruction_epochs}: leave it out, or set more.'
      )
    if not 0 <= self.reconstruction_learning_rate < math.inf:
      raise ValueError(
        f'Expected reconstruction_learning_rate of at least 0, found {self.reconstruction_learning_rate}: leave it out '
        'for --client_learning_rate, or set a larger one.'
      )

  def check(self, config: Any) -> None:
    if config.personalize_epochs:
      raise ValueError(
        'Expected no --personalize_epochs with --algorithm=fed_recon, found some: held-out users are measured before '
        'and after reconstruction instead; leave it out, and set --algorithm_options=reconstruction_epochs=2 or the '
        'like.'
      )

  def on_device(self, config: Any) -> personalization.FineTuning:
    return personalization.FineTuning(
      self.reconstruction_epochs,
      self.reconstruction_learning_rate or config.client_learning_rate,
      config.client_batch_size,
      tuple(self._names()),
    )

  def update_size(self, context: base.Context) -> int:
    return sum(context.model.initial_weights[index].size for index in self._global_indices(context))

  def train(
    self, client: local_algorithm.Client, sgd: 'local_sgd.LocalSgd'
  ) -> tuple[local_algorithm.Weights, local_algorithm.Weights]:
    context = client.context
    first, second = sgd.halves() if self.split else (sgd, sgd)
    weights, _ = self._reconstruction(first).run(client.initial, self._local_indices(context))
    return second.run(weights, self._global_indices(context))

  def num_examples(self, client: local_algorithm.Client) -> Any:
    """Returns the number of examples of the second stage: nothing of the first one is in the update."""
    number = client.dataset.num_examples
    return number - number // 2 if self.split else number

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    moved = local_algorithm.subtract(client.initial, trained)
    return local_algorithm.Update(tuple(moved[index] for index in self._global_indices(client.context)))

  def build_finalizer(self, context: base.Context) -> 'tff.learning.templates.FinalizerProcess':
    import tensorflow as tf
    import tensorflow_federated as tff

    from tff_tasks.algorithms import finalizers

    types, indices = list(context.weights_type.trainable), self._global_indices(context)

    def complete(state: Any, update: Any) -> tuple[Any, tuple[Any, ...]]:
      moved = dict(zip(indices, update, strict=True))
      return state, tuple(moved.get(index, tf.zeros(one.shape)) for index, one in enumerate(types))

    update_type = tff.to_type(tuple(types[index] for index in indices))
    return finalizers.build_corrected_finalizer(context, update_type, tuple, complete)

  def _names(self) -> list[str]:
    return list(dict.fromkeys(self.local_layers.split(_SEPARATOR)))

  def _local_indices(self, context: base.Context) -> list[int]:
    model = context.model
    local = model.indices('local_layers', self._names())
    if len(local) == len(model.initial_weights):
      raise ValueError(
        f'Expected local_layers to be some of the layers of the model ({", ".join(model.layers)}), found all of them, '
        'so that nothing is trained in common: name fewer.'
      )
    return local

  def _global_indices(self, context: base.Context) -> list[int]:
    local = self._local_indices(context)
    return [index for index in range(len(context.model.initial_weights)) if index not in local]

  def _reconstruction(self, sgd: 'local_sgd.LocalSgd') -> 'local_sgd.LocalSgd':
    import tensorflow as tf

    from tff_tasks.algorithms import local_sgd

    training = local_sgd.LocalTraining(
      self.reconstruction_learning_rate or sgd.training.learning_rate,
      sgd.training.batch_size,
      self.reconstruction_epochs,
      is_by_client=sgd.training.is_by_client,
    )
    # A client with work of its own has a batch size of its own, but these epochs.
    work = tf.stack([self.reconstruction_epochs, sgd.dataset.work[1]])
    return dataclasses.replace(sgd, training=training, dataset=sgd.dataset._replace(work=work), learning_rate=None)
