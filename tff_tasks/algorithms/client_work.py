"""What clients of an algorithm do in a round: local training, and what the algorithm makes of it.

A sequence of one element holds all examples of a client: TFF asks for a sequence, and iterating over a longer one is
what makes TFF slow.
"""

import collections
import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from tff_tasks.aggregation import gathering
from tff_tasks.algorithms import base
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.algorithms import schedules
from tff_tasks.population import client_data
from tff_tasks.population import client_report
from tff_tasks.runtime import tff_structures
from tff_tasks.runtime import xla


def dataset_type(schema: schema_lib.Schema, memory_size: int = 0) -> tff.SequenceType:
  """Returns the type of a client's data: a sequence of one `ClientDataset`."""
  return tff.SequenceType(
    client_data.ClientDataset(
      features=tff.TensorType(np.dtype(schema.feature.dtype).type, (None, *schema.feature.shape)),
      first=tff.TensorType(np.int32),
      index=tff.TensorType(np.int32),
      labels=tff.TensorType(np.dtype(schema.label.dtype).type, (None, *schema.label.shape)),
      memory=tff.TensorType(np.float32, (memory_size,)),
      num_examples=tff.TensorType(np.int32),
      seeds=tff.TensorType(np.int32, (2, 2)),
      work=tff.TensorType(np.int32, (2,)),
    )
  )


def build_parts(context: base.Context, algorithm: local_algorithm.LocalAlgorithm) -> base.Parts:
  """Builds the parts of an algorithm whose clients train locally.

  The weight of an update is `LocalAlgorithm.num_examples`. The measurements are sums over the cohort, less the clients
  whose loss is not finite, and what the clients keep, if anything. The state is `(round, shared)`.
  """
  memory_size = algorithm.memory_size(context)
  data_type = dataset_type(context.schema, memory_size)

  @tff.tensorflow.computation
  def initial_state() -> Any:
    return collections.OrderedDict(
      round=tf.constant(0), shared=tf.nest.map_structure(tf.convert_to_tensor, algorithm.initial_shared(context))
    )

  state_type = initial_state.type_signature.result

  @tff.tensorflow.computation(state_type, context.weights_type, data_type)
  def train(state: Any, model_weights: Any, sequence: tf.data.Dataset) -> Any:
    dataset = sequence.get_single_element()
    with xla.loops():
      return _train(context, algorithm, dataset, list(model_weights.trainable), state)

  @tff.tensorflow.computation(state_type, train.type_signature.result[2])
  def finish(state: Any, sums: Any) -> Any:
    return collections.OrderedDict(
      round=state['round'] + 1, shared=algorithm.next_shared(context, state['shared'], sums)
    )

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_eval(initial_state, tff.SERVER)

  @tff.federated_computation(
    tff.FederatedType(state_type, tff.SERVER),
    tff.FederatedType(context.weights_type, tff.CLIENTS),
    tff.FederatedType(data_type, tff.CLIENTS),
  )
  def next_round(state: Any, model_weights: Any, dataset: Any) -> Any:
    trained = tff.federated_map(train, (tff.federated_broadcast(state), model_weights, dataset))
    measured = collections.OrderedDict(sums=tff.federated_sum(trained[1]))
    if memory_size:
      measured['memory'] = gathering.gather(trained[3])
    new_state = tff.federated_map(finish, (state, tff.federated_sum(trained[2])))
    return tff.templates.MeasuredProcessOutput(new_state, trained[0], tff.federated_zip(measured))

  return base.Parts(
    tff.learning.templates.ClientWorkProcess(initialize, next_round),
    algorithm.build_finalizer(context),
    memory_size,
    upload_numbers=tff_structures.count_numbers(train.type_signature.result[2]),
    download_numbers=tff_structures.count_numbers(state_type['shared']),
    update_size=algorithm.update_size(context),
  )


def _train(
  context: base.Context,
  algorithm: local_algorithm.LocalAlgorithm,
  dataset: client_data.ClientDataset,
  initial: list[tf.Tensor],
  state: Any,
) -> tuple[Any, ...]:
  """Returns the result of one client: for the aggregator, measured, to be summed, and to be kept."""
  training = context.training
  rate = schedules.learning_rate(training.learning_rate, training.schedule, state['round'], training.total_rounds)
  sgd = local_sgd.LocalSgd(context.model, training, dataset, context.schema.first_answer, rate)
  client = local_algorithm.Client(
    context, initial, state['shared'], dataset.memory, dataset, rate, sgd.num_steps, sgd.full_gradient
  )
  client = client._replace(prepared=algorithm.prepare(client))
  adjust = None
  if type(algorithm).adjust is not local_algorithm.LocalAlgorithm.adjust:
    adjust = functools.partial(_adjust, algorithm, client)
  sgd = dataclasses.replace(sgd, adjust=adjust, fixed_state=algorithm.optimizer_state(client))
  trained, sums = algorithm.train(client, sgd)
  update, extra, memory = _finite_or_nothing(algorithm.finish(client, trained))
  if memory is not None and memory.shape != dataset.memory.shape:
    raise ValueError(
      f'Expected an algorithm whose clients keep memory_size numbers, which is {dataset.memory.shape[0]}, found '
      f'{memory.shape} in what finish returns: change either of them.'
    )
  measured = {name: tf.where(tf.math.is_finite(sums.loss), value, 0.0) for name, value in sums._asdict().items()}
  result = tff.learning.templates.ClientResult(update, tf.cast(algorithm.num_examples(client), tf.float32))
  row = client_report.ClientMemory(dataset.index, dataset.memory if memory is None else memory)
  return result, collections.OrderedDict(measured), extra, row


def _adjust(
  algorithm: local_algorithm.LocalAlgorithm,
  client: local_algorithm.Client,
  weights: local_algorithm.Weights,
  gradients: local_algorithm.Weights,
) -> list[tf.Tensor]:
  adjusted = [tf.convert_to_tensor(one) for one in algorithm.adjust(client, weights, gradients)]
  expected, found = ([one.shape.as_list() for one in tensors] for tensors in (gradients, adjusted))
  if expected != found:
    raise ValueError(
      f'Expected adjust of {type(algorithm).__name__} to return a gradient for each weight, of the shapes {expected}, '
      f'found {found}.'
    )
  return adjusted


def _finite_or_nothing(update: local_algorithm.Update) -> local_algorithm.Update:
  """Returns an update whose sums are zero if anything in it is not finite; the update then is not finite either."""
  extra = [*tf.nest.flatten(update.sums), *([] if update.memory is None else [update.memory])]
  if not extra:
    return update
  is_finite = tf.math.is_finite(tf.linalg.global_norm([*update.update, *extra]))
  sums = tf.nest.map_structure(lambda value: tf.where(is_finite, value, 0.0), update.sums)
  return local_algorithm.Update(
    tuple(tf.where(is_finite, value, np.nan) for value in update.update), sums, update.memory
  )
