"""Clients that were trained elsewhere: a round takes the weights that their devices have made."""

import dataclasses
from typing import Any

from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm


@dataclasses.dataclass(frozen=True)
class TrainedElsewhere:
  """FedAvg of weights that come with the clients: `ClientDataset.memory` has them, as one vector.

  What becomes of an update is that of any other algorithm: clip, codec, sum, noise, server optimizer.
  """

  def build(self, context: base.Context) -> base.Parts:
    import tensorflow as tf
    import tensorflow_federated as tff

    from tff_tasks.algorithms import client_work
    from tff_tasks.algorithms import finalizers

    data_type = client_work.dataset_type(context.schema, context.num_weights)

    @tff.tensorflow.computation(context.weights_type, data_type)
    def subtract(model_weights: Any, sequence: tf.data.Dataset) -> Any:
      dataset, initial = sequence.get_single_element(), list(model_weights.trainable)
      update = local_algorithm.subtract(initial, local_algorithm.split(dataset.memory, initial))
      return tff.learning.templates.ClientResult(update, tf.cast(dataset.num_examples, tf.float32))

    @tff.federated_computation
    def initialize() -> Any:
      return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
      initialize.type_signature.result,
      tff.FederatedType(context.weights_type, tff.CLIENTS),
      tff.FederatedType(data_type, tff.CLIENTS),
    )
    def next_round(state: Any, model_weights: Any, dataset: Any) -> Any:
      result = tff.federated_map(subtract, (model_weights, dataset))
      return tff.templates.MeasuredProcessOutput(state, result, tff.federated_value((), tff.SERVER))

    return base.Parts(
      tff.learning.templates.ClientWorkProcess(initialize, next_round), finalizers.build_finalizer(context)
    )
