"""A learning process out of its parts, as TFF's templates compose them, with a tag beside each update."""

import collections
from typing import Any

import tensorflow_federated as tff
from tensorflow_federated.python.learning.templates import composers

from tff_tasks.aggregation import tagging
from tff_tasks.algorithms import base


def compose(
  initial_weights: tff.framework.ConcreteComputation,
  parts: base.Parts,
  aggregator: tff.templates.AggregationProcess,
) -> tff.learning.templates.LearningProcess:
  """Returns the process `<S@SERVER, ClientDataset*@CLIENTS> -> <S@SERVER, metrics@SERVER>`.

  `tff.learning.templates.compose_learning_process` does the same for aggregators that take an update and a weight.

  Args:
    initial_weights: Returns the `ModelWeights` of round 0.
    parts: Of the algorithm.
    aggregator: Takes updates, weights and `ClientTag`s.
  """
  weights_type = initial_weights.type_signature.result
  distributor = tff.learning.templates.build_broadcast_process(weights_type)
  client_work, finalizer = parts.client_work, parts.finalizer
  data_type = client_work.next.type_signature.parameter[2]
  read_tag = tagging.build_tagging(data_type.member)

  @tff.federated_computation
  def initialize() -> Any:
    weights = tff.federated_eval(initial_weights, tff.SERVER)
    states = (part.initialize() for part in (distributor, client_work, aggregator, finalizer))
    return tff.federated_zip(composers.LearningAlgorithmState(weights, *states))

  state_type = initialize.type_signature.result

  @tff.federated_computation(state_type, data_type)
  def next_round(state: Any, data: Any) -> Any:
    sent = distributor.next(state.distributor, state.global_model_weights)
    worked = client_work.next(state.client_work, sent.result, data)
    tags = tff.federated_map(read_tag, data)
    mean = aggregator.next(state.aggregator, worked.result.update, worked.result.update_weight, tags)
    finished = finalizer.next(state.finalizer, state.global_model_weights, mean.result)
    new_state = composers.LearningAlgorithmState(finished.result, sent.state, worked.state, mean.state, finished.state)
    metrics = collections.OrderedDict(client_work=worked.measurements, aggregator=mean.measurements)
    return tff.learning.templates.LearningProcessOutput(tff.federated_zip(new_state), tff.federated_zip(metrics))

  @tff.tensorflow.computation(state_type.member)
  def get_model_weights(state: Any) -> Any:
    return state.global_model_weights

  @tff.tensorflow.computation(state_type.member, weights_type)
  def set_model_weights(state: Any, weights: Any) -> Any:
    return composers.LearningAlgorithmState(
      weights, state.distributor, state.client_work, state.aggregator, state.finalizer
    )

  return tff.learning.templates.LearningProcess(initialize, next_round, get_model_weights, set_model_weights)
