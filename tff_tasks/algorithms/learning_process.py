"""The learning process of a run: an algorithm with the aggregation of the privacy plan, as a real TFF process."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models import functional_model
from tff_tasks.aggregation import factory_process
from tff_tasks.aggregation import mean
from tff_tasks.aggregation import private_mean
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import composition
from tff_tasks.algorithms import local_algorithm
from tff_tasks.algorithms import local_sgd
from tff_tasks.algorithms import schedules
from tff_tasks.algorithms import stock_process
from tff_tasks.compression import registry as compressions
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import tff_structures

# Adaptive server optimizers divide by the root of a noisy second moment: epsilon as in Reddi et al. 2021 (Adaptive
# Federated Optimization, arXiv 2003.00295), smaller because clipped updates are. Sums of squares
# begin at its square: TFF's own beginnings are far larger than a clipped update. TFF's Adagrad adds it under the root.
_ADAPTIVITY = 1e-4
_MEAN = mean.Mean()


class Built(NamedTuple):
  """A learning process, with what its clients keep, send and get, in float32 numbers.

  Attributes:
    process: The learning process.
    update_size: What an update has: what clip, noise and codec are for.
    memory_size: What a client keeps from round to round.
    upload_numbers: What it sends beside its update.
    download_numbers: What the server sends beside the weights.
  """

  process: tff.learning.templates.LearningProcess
  update_size: int
  memory_size: int = 0
  upload_numbers: int = 0
  download_numbers: int = 0


def build_learning_process(
  algorithm: local_algorithm.Algorithm,
  model: functional_model.FunctionalModel,
  schema: schema_lib.Schema,
  training: local_sgd.LocalTraining,
  server_optimizer: tff.learning.optimizers.Optimizer,
  plan: plan_lib.PrivacyPlan,
  seed: seeds.Seed,
  aggregation: aggregations.Aggregation = _MEAN,
) -> Built:
  """Builds `<S@SERVER, ClientDataset*@CLIENTS> -> <S@SERVER, metrics@SERVER>`.

  Args:
    algorithm: What a client computes, and what the server does with the mean.
    model: What to train.
    schema: What the clients have.
    training: What a client does in a round.
    server_optimizer: Takes the mean update as a gradient.
    plan: How updates are clipped, quantized, summed and noised.
    seed: The seed of the run.
    aggregation: How updates are combined.
  """

  @tff.tensorflow.computation
  def initial_model_weights() -> Any:
    return tff.learning.models.ModelWeights(tuple(map(tf.constant, model.initial_weights)), ())

  weights_type = initial_model_weights.type_signature.result
  context = base.Context(
    model, weights_type, schema, training, server_optimizer, plan.population, plan.clients_per_round, plan.clip_norm
  )
  parts = _build_parts(algorithm, context)
  if isinstance(parts, tff.learning.templates.LearningProcess):
    _check_whole_process(plan, aggregation)
    return Built(stock_process.adapt(parts, model, schema, training), context.num_weights)
  update_type = parts.client_work.next.type_signature.result.result.member.update
  update_size = _check_size(context, parts, update_type)
  if plan.is_private:
    _check_nothing_beside(algorithm, parts)
  if isinstance(aggregation, mean.Mean):
    aggregator = private_mean.build_aggregator(update_type, plan, seed)
  else:
    aggregator = factory_process.build_aggregator(update_type, plan, aggregation.build())
  uploads = parts.upload_numbers + (plan.weighting != 'uniform')
  process = composition.compose(initial_model_weights, parts, aggregator)
  return Built(process, update_size, parts.memory_size, uploads, parts.download_numbers)


def _check_size(context: base.Context, parts: base.Parts, update_type: tff.Type) -> int:
  """Returns how many numbers an update has, which is what the algorithm says.

  Raises:
    ValueError: If it is not.
  """
  said = context.num_weights if parts.update_size is None else parts.update_size
  found = tff_structures.count_numbers(update_type)
  if found != said:
    raise ValueError(
      f'Expected updates of {said} numbers, as update_size of the algorithm says, found {found}: correct update_size, '
      'or choose another --algorithm.'
    )
  return found


def _check_nothing_beside(algorithm: local_algorithm.Algorithm, parts: base.Parts) -> None:
  """Raises a ValueError if something is summed beside the updates: it gets no noise."""
  beside = parts.upload_numbers
  if not isinstance(algorithm, local_algorithm.LocalAlgorithm):  # Its state may come from sums of any kind.
    beside += tff_structures.count_numbers(parts.client_work.initialize.type_signature.result.member)
  if beside:
    raise ValueError(
      f'Expected nothing summed beside the updates under noise, found {beside} numbers: choose another --algorithm, or '
      'set --noise_multiplier=0 --target_epsilon=0.'
    )


def _build_parts(
  algorithm: local_algorithm.Algorithm, context: base.Context
) -> base.Parts | tff.learning.templates.LearningProcess:
  if isinstance(algorithm, local_algorithm.LocalAlgorithm):
    return client_work.build_parts(context, algorithm)
  parts = algorithm.build(context)
  if not isinstance(parts, base.Parts | tff.learning.templates.LearningProcess):
    raise ValueError(
      f'Expected build of {type(algorithm).__name__} to return Parts or a tff.learning.templates.LearningProcess, '
      f'found {type(parts).__name__}: see tff_tasks/algorithms/base.py.'
    )
  return parts


def _check_whole_process(plan: plan_lib.PrivacyPlan, aggregation: aggregations.Aggregation) -> None:
  """Raises a ValueError for flags that a process which combines updates by itself would not follow."""
  flags = {
    '--noise_multiplier=0 --target_epsilon=0': plan.is_private,
    '--compression=quantization': plan.compression != compressions.QUANTIZATION,
    '--quantization_bits=0': plan.quantization_bits,
    '--clip_norm=0': plan.clip_norm is not None,
    '--weighting=uniform': plan.weighting != 'uniform',
    '--aggregation=mean': not isinstance(aggregation, mean.Mean),
  }
  needed = [name for name, is_other in flags.items() if is_other]
  if needed:
    raise ValueError(
      f'Expected {", ".join(needed)} with an --algorithm that is a whole learning process of TFF, found other values: '
      'it combines updates by itself, so give clips and weights to its builder.'
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

  return optimizers.schedule_learning_rate(
    optimizer, lambda index: learning_rate * schedules.linear(index, total_rounds)
  )
