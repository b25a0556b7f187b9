"""What algorithms are made of: a frozen dataclass whose fields are options, and the TFF parts of a round.

Most algorithms change something about local training: see `local_algorithm.LocalAlgorithm`, with an example. Others
are a `Builder` of parts. An algorithm decides nothing about privacy: the plan clips, rounds, sums and noises whatever
update comes out, so its sensitivity and its epsilon are the same for every algorithm. What is summed beside the update
has no noise, and such an algorithm is refused where noise is asked for.

The built-in ones import TensorFlow only in methods: options are checked before it is loaded.
"""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from contracts import schema as schema_lib
  from models import functional_model
  from tff_tasks import config as config_lib
  from tff_tasks.algorithms import local_sgd


class Parts(NamedTuple):
  """What an algorithm puts into the learning process; the distributor and the aggregator are those of the run.

  Attributes:
    client_work: What a client computes: an update (a tuple of float32 tensors) and its weight, float32, the number of
      its examples. If its measurements are a dictionary with `sums` (of `loss`, `correct` and `count`), the run shows
      loss and accuracy. Under noise it cannot have a state: what is in one comes from sums without noise.
    finalizer: What the server does with the mean of the updates.
    memory_size: How many float32 numbers a client keeps from round to round; they stay with the client.
    upload_numbers: How many float32 numbers a client sends beside its update.
    download_numbers: How many the server sends beside the weights.
    update_size: How many an update has; None: as many as the model has weights. Clip, noise, codec and traffic are
      worked out for this size, so an update of another size is refused.
  """

  client_work: 'tff.learning.templates.ClientWorkProcess'
  finalizer: 'tff.learning.templates.FinalizerProcess'
  memory_size: int = 0
  upload_numbers: int = 0
  download_numbers: int = 0
  update_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Context:
  """What an algorithm is built for.

  Attributes:
    model: What to train.
    weights_type: Of its weights, a `tff.learning.models.ModelWeights`.
    schema: What the clients have.
    training: What the flags say about a client's steps.
    server_optimizer: What the flags say about the server: it takes the mean update as a gradient.
    population: Number of training clients.
    clients_per_round: Expected clients of a round, by which the sum of updates is divided.
    clip_norm: L2 bound of an update, or None.
  """

  model: 'functional_model.FunctionalModel'
  weights_type: 'tff.StructType'
  schema: 'schema_lib.Schema'
  training: 'local_sgd.LocalTraining'
  server_optimizer: 'tff.learning.optimizers.Optimizer'
  population: int
  clients_per_round: int
  clip_norm: float | None = None

  @property
  def num_weights(self) -> int:
    """How many numbers the weights of the model are."""
    return sum(weight.size for weight in self.model.initial_weights)

  def build_tff_model(self) -> 'tff.learning.models.FunctionalModel':
    """Returns the model for TFF's own algorithms, such as `tff.learning.algorithms.build_weighted_fed_prox`."""
    from tff_tasks.algorithms import tff_model

    return tff_model.build(self.model, self.schema)


class Builder(Protocol):
  """An algorithm of any TFF parts, or a whole process of TFF: a frozen dataclass with this method.

  Its fields are options: each an int, float, bool or str.

  It may have a method `check(config)` as well, which raises a `ValueError` if the algorithm does not work with other
  flags of a run.
  """

  def build(self, context: Context) -> 'Parts | tff.learning.templates.LearningProcess':
    """Returns the parts of a round.

    Or a learning process of `context.build_tff_model()`, which combines updates by itself: without noise, clip and
    quantization of ours, and with the mean, the weights and the server optimizer that it was built with. A client's
    batches are those of the flags.
    """


def refuse_noise(name: str, sums: str, config: 'config_lib.Config') -> None:
  """Raises a ValueError if a config asks for noise, for an algorithm that sums something beside its updates.

  Args:
    name: Of the algorithm.
    sums: What it sums.
    config: The config.
  """
  if config.asks_for_noise:
    raise ValueError(
      f'Expected no noise with --algorithm={name}, found some: the sum of {sums} is released without any; set '
      '--noise_multiplier=0 --target_epsilon=0 or choose another --algorithm.'
    )


def refuse_weights(name: str, config: 'config_lib.Config') -> None:
  """Raises a ValueError if a config weights clients by their examples, for an algorithm of equal weights."""
  if config.weighting != 'uniform':
    raise ValueError(f'Expected --weighting=uniform with --algorithm={name}, found {config.weighting}: set it so.')


def refuse_optimizer(name: str, config: 'config_lib.Config', *known: str) -> None:
  """Raises a ValueError if the client optimizer of a config is not among those that an algorithm knows."""
  if config.client_optimizer not in known:
    expected = ' or '.join(known)
    raise ValueError(
      f'Expected --client_optimizer={expected} with --algorithm={name}, found {config.client_optimizer}: its '
      'correction is worked out for those steps; set it so.'
    )
