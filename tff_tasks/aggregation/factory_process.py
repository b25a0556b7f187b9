"""Updates combined by any TFF factory, with the clip, the finite check and the report of the mean around it."""

import collections
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.aggregation import gathering
from tff_tasks.aggregation import private_mean
from tff_tasks.aggregation import tagging
from tff_tasks.population import client_report
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import tff_structures

Factory: TypeAlias = tff.aggregators.WeightedAggregationFactory | tff.aggregators.UnweightedAggregationFactory


def takes_weights(name: str, factory: Any) -> bool:
  """Returns whether a factory takes weights.

  Args:
    name: Of the aggregation that built it, for messages.
    factory: The factory.

  Raises:
    ValueError: If it is none.
  """
  if not isinstance(factory, tff.aggregators.WeightedAggregationFactory | tff.aggregators.UnweightedAggregationFactory):
    raise ValueError(
      f'Expected build of --aggregation={name} to return a factory of tff.aggregators, found '
      f'{type(factory).__name__}: return one, such as tff.learning.robust_aggregator().'
    )
  return isinstance(factory, tff.aggregators.WeightedAggregationFactory)


def build_aggregator(
  update_type: tff.StructType, plan: plan_lib.PrivacyPlan, factory: Factory
) -> tff.templates.AggregationProcess:
  """Builds the aggregation of updates by a factory.

  Args:
    update_type: The type of an update: a tuple of float32 tensors.
    plan: Says how to clip and weight; without noise and compression.
    factory: What `base.Builder.build` returned.

  Returns:
    An `AggregationProcess` of updates, weights (float32, the number of examples) and `ClientTag`s. Its measurements are
    the `ClientReport` of the round and those of the factory. A round whose weights are all zero gives zero and leaves
    the state of the factory as it is: a mean of nobody is not a number.

  Raises:
    ValueError: If the plan has noise or compression.
  """
  if plan.is_private or plan.upload:
    raise ValueError(f'Expected a plan without noise and compression for this aggregation, found {plan}.')
  is_weighted = isinstance(factory, tff.aggregators.WeightedAggregationFactory)
  process = factory.create(update_type, tff.TensorType(np.float32)) if is_weighted else factory.create(update_type)
  inner_type = process.initialize.type_signature.result.member

  @tff.tensorflow.computation(update_type, np.float32, tagging.TAG_TYPE)
  def prepare(update: Any, weight: tf.Tensor, tag: Any) -> Any:
    clipped, norm, is_finite = private_mean.clip(list(update), plan.clip_norm)
    weight = tf.where(is_finite, tf.ones([]) if plan.weighting == 'uniform' else weight, 0.0)
    return tuple(clipped), weight, client_report.ClientReport(tag.index, tag.examples, is_finite, norm)

  @tff.federated_computation
  def initialize() -> Any:
    state = collections.OrderedDict(round=tff.federated_value(0, tff.SERVER), factory=process.initialize())
    return tff.federated_zip(state)

  state_type = initialize.type_signature.result

  @tff.tensorflow.computation(state_type.member, inner_type, update_type, np.float32)
  def finish(state: Any, inner: Any, result: Any, total_weight: tf.Tensor) -> Any:
    is_empty = tf.equal(total_weight, 0.0)
    new_state = collections.OrderedDict(
      round=state['round'] + 1, factory=tff_structures.choose(is_empty, state['factory'], inner, inner_type)
    )
    return new_state, tff_structures.choose(is_empty, tuple(map(tf.zeros_like, result)), result, update_type)

  @tff.federated_computation(
    state_type, *(tff.FederatedType(one, tff.CLIENTS) for one in (update_type, np.float32, tagging.TAG_TYPE))
  )
  def next_round(state: Any, update: Any, weight: Any, tag: Any) -> Any:
    clipped, weight, report = tff.federated_map(prepare, (update, weight, tag))
    inputs = (clipped, weight) if is_weighted else (clipped,)
    output = process.next(state['factory'], *inputs)
    new_state, result = tff.federated_map(finish, (state, output.state, output.result, tff.federated_sum(weight)))
    measured = collections.OrderedDict(report=gathering.gather(report), factory=output.measurements)
    return tff.templates.MeasuredProcessOutput(new_state, result, tff.federated_zip(measured))

  return tff.templates.AggregationProcess(initialize, next_round)
