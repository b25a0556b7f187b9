"""What an algorithm is: a frozen dataclass whose fields are its options and which builds the TFF parts of a round.

One of your own is a class such as this, in a module that can be imported. It is FedAvg whose clients take steps of a
bounded length. `--algorithm=my_package.my_module:ShortSteps --algorithm_options=bound=0.1` trains with it:

    import dataclasses
    import tensorflow as tf
    from tff_tasks.algorithms import base
    from tff_tasks.algorithms import client_work

    @dataclasses.dataclass(frozen=True)
    class ShortSteps:
      bound: float

      def build(self, model, weights_type, schema, training, server_optimizer):
        def shorten(initial, weights, steps):
          return tf.clip_by_global_norm(steps, self.bound)[0]

        return base.Parts(
            client_work.build_client_work(model, weights_type, schema, training, shorten),
            client_work.build_finalizer(server_optimizer, weights_type),
        )

An algorithm decides what a client computes and what the server does with the mean of the updates. It decides nothing
about privacy: the plan clips, rounds, sums and noises whatever update comes out, so its sensitivity and its epsilon are
the same for every algorithm.

The built-in ones import TensorFlow only in `build`: options are checked before it is loaded.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from contracts import schema as schema_lib
  from models import functional_model
  from tff_tasks.algorithms import client_work


class Parts(NamedTuple):
  """What an algorithm puts into the learning process; the distributor and the aggregator are those of the run.

  Attributes:
    client_work: What a client computes. Its update is `OrderedDict(delta=initial minus trained weights,
      rounding_seed=dataset.seeds[1])`, its weight 1.
    finalizer: What the server does with the mean of the deltas.
  """

  client_work: 'tff.learning.templates.ClientWorkProcess'
  finalizer: 'tff.learning.templates.FinalizerProcess'


class Algorithm(Protocol):
  """A frozen dataclass with this method. Its fields are options: each an int, float, bool or str."""

  def build(
    self,
    model: 'functional_model.FunctionalModel',
    weights_type: 'tff.StructType',
    schema: 'schema_lib.Schema',
    training: 'client_work.LocalTraining',
    server_optimizer: 'tff.learning.optimizers.Optimizer',
  ) -> Parts:
    """Returns the parts of a round.

    Args:
      model: What to train.
      weights_type: Of its weights, a `tff.learning.models.ModelWeights`.
      schema: What the clients hold.
      training: What the flags say about a client's steps.
      server_optimizer: What the flags say about the server: it takes the mean delta as a gradient.
    """
