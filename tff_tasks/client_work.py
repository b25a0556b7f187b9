"""What a client does in a round: local SGD, as one plain function of weights and stacked batches.

A sequence of one element holds all batches of a client: TFF asks for a sequence, and iterating over a longer one is
what makes TFF slow. The model is derived from the Keras model of the task, whose variables are replaced by tensors, so
that no variable is created or assigned in a round.
"""

import collections
from collections.abc import Iterator, Sequence
import contextlib
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import control_flow_ops
import tensorflow_federated as tff

from models import task as task_lib
from pipelines import schema as schema_lib
from tff_tasks import client_data
from tff_tasks import functional

Weights = Sequence[tf.Tensor]


def batches_type(schema: schema_lib.Schema, batch_size: int) -> tff.SequenceType:
  """Returns the type of a client's data: a sequence of one `ClientBatches`."""
  return tff.SequenceType(
      client_data.ClientBatches(
          tff.TensorType(np.dtype(schema.feature.dtype).type, (None, batch_size, *schema.feature.shape)),
          tff.TensorType(np.dtype(schema.label.dtype).type, (None, batch_size, *schema.label.shape)),
          tff.TensorType(np.int32, (2,)),
      )
  )


def local_sgd(
    model: functional.FunctionalModel,
    weights: Weights,
    batches: client_data.ClientBatches,
    learning_rate: float,
) -> tuple[list[tf.Tensor], task_lib.Sums]:
  """Runs one step of SGD a batch.

  Returns:
    The trained weights, and the sums of loss, correct predictions and labels as each batch found them before its step.
  """

  def step(index: tf.Tensor, current: list[tf.Tensor], totals: task_lib.Sums) -> tuple[tf.Tensor, list, task_lib.Sums]:
    labels = tf.cast(batches.labels[index], tf.int32)
    with tf.GradientTape() as tape:
      tape.watch(current)
      logits = model(current, batches.features[index])
      sums = task_lib.Sums(*(tf.reduce_sum(value) for value in task_lib.sums(labels, logits)))
      loss = tf.math.divide_no_nan(sums.loss, sums.count)
    gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, current)]
    trained = [weight - learning_rate * gradient for weight, gradient in zip(current, gradients, strict=True)]
    return index + 1, trained, task_lib.Sums(*(a + b for a, b in zip(totals, sums, strict=True)))

  steps = _count_steps(batches.labels)
  zeros = task_lib.Sums(*(tf.zeros([]) for _ in task_lib.Sums._fields))
  _, trained, totals = tf.while_loop(
      lambda index, *_: index < steps, step, (tf.constant(0), list(weights), zeros), parallel_iterations=1
  )
  return trained, totals


def _count_steps(labels: tf.Tensor) -> tf.Tensor:
  """Returns the number of steps up to the last one with a label that counts; the rest only fills a shape up."""
  counts = tf.reduce_any(tf.not_equal(labels, schema_lib.IGNORED_LABEL), axis=list(range(1, labels.shape.rank)))
  return tf.reduce_max(tf.where(counts, tf.range(1, tf.shape(labels)[0] + 1), 0))


@contextlib.contextmanager
def _bounded_loops() -> Iterator[None]:
  """Makes Keras give its recurrent loops a bound, which it does in an XLA context only and XLA asks for."""
  context = control_flow_ops.XLAControlFlowContext()
  context.Enter()
  try:
    yield
  finally:
    context.Exit()


def build_client_work(
    model: functional.FunctionalModel,
    weights_type: tff.StructType,
    data_type: tff.SequenceType,
    learning_rate: float,
) -> tff.learning.templates.ClientWorkProcess:
  """Builds the client work of FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1).

  The update is `(delta=initial minus trained weights, rounding_seed)`; the measurements are sums over the cohort.
  """

  @tff.tensorflow.computation(weights_type, data_type)
  def train(model_weights: Any, dataset: tf.data.Dataset) -> Any:
    batches = dataset.get_single_element()
    initial = list(model_weights.trainable)
    with _bounded_loops():
      trained, sums = local_sgd(model, initial, batches, learning_rate)
    delta = tuple(before - after for before, after in zip(initial, trained, strict=True))
    update = collections.OrderedDict(delta=delta, rounding_seed=batches.rounding_seed)
    return tff.learning.templates.ClientResult(update, tf.constant(1.0)), sums._asdict()

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_value((), tff.SERVER)

  @tff.federated_computation(
      initialize.type_signature.result,
      tff.FederatedType(weights_type, tff.CLIENTS),
      tff.FederatedType(data_type, tff.CLIENTS),
  )
  def next_round(state: Any, model_weights: Any, dataset: Any) -> Any:
    result, sums = tff.federated_map(train, (model_weights, dataset))
    return tff.templates.MeasuredProcessOutput(state, result, tff.federated_sum(sums))

  return tff.learning.templates.ClientWorkProcess(initialize, next_round)
