"""The learning process of a run: an algorithm with the aggregation of the privacy plan, as a real TFF process."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models import functional_model
from tff_tasks.aggregation import private_mean
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib

# Adaptive server optimizers divide by the root of a noisy second moment: epsilon as in Reddi et al. 2021 (Adaptive
# Federated Optimization, arXiv 2003.00295), smaller because clipped updates are. Sums of squares
# begin at its square: TFF's own beginnings are far larger than a clipped update. TFF's Adagrad adds it under the root.
_ADAPTIVITY = 1e-4


def build_learning_process(
  algorithm: base.Algorithm,
  model: functional_model.FunctionalModel,
  schema: schema_lib.Schema,
  training: client_work.LocalTraining,
  server_optimizer: tff.learning.optimizers.Optimizer,
  plan: plan_lib.PrivacyPlan,
  seed: seeds.Seed,
) -> tff.learning.templates.LearningProcess:
  """Builds `<S@SERVER, ClientDataset*@CLIENTS> -> <S@SERVER, metrics@SERVER>`.

  Args:
    algorithm: What a client computes, and what the server does with the mean.
    model: What to train.
    schema: What the clients hold.
    training: What a client does in a round.
    server_optimizer: Takes the mean update as a gradient.
    plan: How updates are clipped, quantized, summed and noised.
    seed: The seed of the run.
  """

  @tff.tensorflow.computation
  def initial_model_weights() -> Any:
    return tff.learning.models.ModelWeights(tuple(map(tf.constant, model.initial_weights)), ())

  weights_type = initial_model_weights.type_signature.result
  built = algorithm.build(model, weights_type, schema, training, server_optimizer)
  return tff.learning.templates.compose_learning_process(
    initial_model_weights,
    tff.learning.templates.build_broadcast_process(weights_type),
    built.client_work,
    private_mean.build_aggregator(weights_type.trainable, plan, seed),
    built.finalizer,
  )


def build_server_optimizer(
  name: str, learning_rate: float, schedule: str = 'constant', total_rounds: int = 1
) -> tff.learning.optimizers.Optimizer:
  """Returns TFF's optimizer of that name, with its learning rate by round.

  Args:
    name: One of `config.SERVER_OPTIMIZERS`.
    learning_rate: Of the first round.
    schedule: 'constant', or 'linear': constant for the first half of the rounds, then down to zero in a line.
    total_rounds: The length of the run.
  """
  optimizers = tff.learning.optimizers
  builders: dict[str, Callable[[], tff.learning.optimizers.Optimizer]] = {
    'sgd': lambda: optimizers.build_sgdm(learning_rate),
    'momentum': lambda: optimizers.build_sgdm(learning_rate, momentum=0.9),
    'adam': lambda: optimizers.build_adam(learning_rate, beta_2=0.99, epsilon=_ADAPTIVITY),
    'yogi': lambda: optimizers.build_yogi(
      learning_rate, beta_2=0.99, epsilon=_ADAPTIVITY, initial_preconditioner_value=_ADAPTIVITY**2
    ),
    'adagrad': lambda: optimizers.build_adagrad(learning_rate, _ADAPTIVITY**2, _ADAPTIVITY**2),
  }
  optimizer = builders[name]()
  if schedule == 'constant':
    return optimizer

  def linear(index: tf.Tensor) -> tf.Tensor:
    left = 1 - tf.cast(index, tf.float32) / total_rounds
    return learning_rate * tf.minimum(1.0, 2 * left)

  return optimizers.schedule_learning_rate(optimizer, linear)
