"""Algorithms whose clients train locally: FedAvg's rounds, and what another algorithm changes about them.

One of your own is a class such as this, in a module that can be imported. It is FedAvg whose clients pull their weights
towards zero. `--algorithm=my_package.my_module:WeightDecay --algorithm_options=strength=0.1` trains with it:

    import dataclasses
    from tff_tasks.algorithms import local_algorithm

    @dataclasses.dataclass(frozen=True)
    class WeightDecay(local_algorithm.LocalAlgorithm):
      strength: float

      def adjust(self, client, weights, gradients):
        return [gradient + self.strength * weight for gradient, weight in zip(gradients, weights)]
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from contracts import personalization
from tff_tasks.algorithms import base

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from tff_tasks.algorithms import local_sgd
  from tff_tasks.population import client_data

# Tensors in the order of the model's weights.
Weights = Sequence[Any]


class Client(NamedTuple):
  """A client at the beginning of a round, in TensorFlow.

  Attributes:
    context: What the algorithm was built for.
    initial: The weights that the server sent.
    shared: What it sent beside them; see `LocalAlgorithm.initial_shared`.
    memory: float32 `[memory_size]`, what this client has kept; zeros at first.
    dataset: Its examples.
    learning_rate: Of this round, a float or a tensor.
    num_steps: int32, the steps that it takes in this round.
    gradient: The function `weights -> gradient of the mean loss over all labels of the client`.
    prepared: What `LocalAlgorithm.prepare` returned.
  """

  context: base.Context
  initial: Weights
  shared: Any
  memory: Any
  dataset: 'client_data.ClientDataset'
  learning_rate: Any
  num_steps: Any
  gradient: Callable[[Weights], Weights]
  prepared: Any = ()


class Update(NamedTuple):
  """What a client makes of a round, in TensorFlow.

  Attributes:
    update: What is clipped, averaged and given to the finalizer: a tuple of float32 tensors.
    sums: What is summed over the clients for `LocalAlgorithm.next_shared`: nested tuples of float32 tensors. It gets no
      noise: `check` has to refuse noise if there is any.
    memory: float32 `[memory_size]`, what the client keeps; None if it keeps nothing.
  """

  update: tuple[Any, ...]
  sums: Any = ()
  memory: Any = None


class LocalAlgorithm:
  """FedAvg. An algorithm changes the methods that it needs to; those of the client are traced by TensorFlow."""

  def check(self, config: Any) -> None:
    """Raises a ValueError if the algorithm does not work with these flags of a run."""

  def on_device(self, config: Any) -> personalization.FineTuning | None:
    """Returns how a device trains layers of the released model before use; None if the model is used as it is.

    Held-out users are then measured before and after that.
    """
    del config
    return None

  def memory_size(self, context: base.Context) -> int:
    """Returns how many float32 numbers a client keeps from round to round. They never leave the client."""
    del context
    return 0

  def update_size(self, context: base.Context) -> int:
    """Returns how many float32 numbers an update has: what noise, codec and traffic are worked out for."""
    return context.num_weights

  def initial_shared(self, context: base.Context) -> Any:
    """Returns what the server keeps beside the weights and sends to all clients: nested tuples of float32 tensors."""
    del context
    return ()

  def next_shared(self, context: base.Context, shared: Any, sums: Any) -> Any:
    """Returns that of the next round.

    Args:
      context: What the algorithm was built for.
      shared: That of this round.
      sums: Of `Update.sums`, over the clients.
    """
    del context, sums
    return shared

  def optimizer_state(self, client: Client) -> Any:
    """Returns the state of the optimizer that every step begins with, or None for one that goes from step to step."""
    del client

  def prepare(self, client: Client) -> Any:
    """Returns what `adjust` needs and no step changes: nested tuples of tensors, computed once and not in each step."""
    del client
    return ()

  def adjust(self, client: Client, weights: Weights, gradients: Weights) -> Weights:
    """Returns what becomes of the gradient of a step at `weights`."""
    del client, weights
    return gradients

  def train(self, client: Client, sgd: 'local_sgd.LocalSgd') -> tuple[Weights, Any]:
    """Returns the weights after the steps of the client, and what they measured (`task.Sums`)."""
    return sgd.run(client.initial)

  def num_examples(self, client: Client) -> Any:
    """Returns the number of examples that the update was trained on: its weight with `--weighting=examples`."""
    return client.dataset.num_examples

  def finish(self, client: Client, trained: Weights) -> Update:
    """Returns what the client makes of its round, whose steps led to `trained`."""
    return Update(subtract(client.initial, trained))

  def build_finalizer(self, context: base.Context) -> 'tff.learning.templates.FinalizerProcess':
    """Returns what the server does with the mean update: by default, its optimizer takes it as a gradient."""
    from tff_tasks.algorithms import finalizers

    return finalizers.build_finalizer(context)


# What `--algorithm` chooses.
Algorithm = LocalAlgorithm | base.Builder


def subtract(left: Weights, right: Weights) -> tuple[Any, ...]:
  """Returns the difference of weights, tensor by tensor."""
  return tuple(one - other for one, other in zip(left, right, strict=True))


def flatten(weights: Weights) -> Any:
  """Returns weights as one vector, the way a client's memory has them."""
  from tff_tasks.runtime import tff_structures

  return tff_structures.join(weights)


def split(vector: Any, like: Weights) -> list[Any]:
  """Returns a vector in the shapes of weights."""
  from tff_tasks.runtime import tff_structures

  return tff_structures.split(vector, [weight.shape for weight in like])
