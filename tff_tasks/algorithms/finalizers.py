"""What the server does with the mean of the updates, as TFF's finalizers."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.algorithms import base


def build_finalizer(context: base.Context) -> tff.learning.templates.FinalizerProcess:
  """Builds the finalizer whose optimizer takes the mean update as a gradient; one that is not finite changes nothing.

  It does what `tff.learning.templates.build_apply_optimizer_finalizer` does. There AutoGraph has to translate the
  optimizer and the condition, which takes longer than everything else that a learning process is built of.
  """
  optimizer, weights_type = context.server_optimizer, context.weights_type

  @tff.tensorflow.computation
  def initial_state() -> Any:
    return optimizer.initialize(_specs(weights_type))

  @tff.tensorflow.computation(initial_state.type_signature.result, weights_type, weights_type.trainable)
  def apply(state: Any, weights: Any, update: Any) -> Any:
    before = state, weights.trainable
    after = optimizer.next(state, weights.trainable, update)
    is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in update])
    new_state, trainable = tf.cond(is_finite, lambda: after, lambda: before)
    return new_state, tff.learning.models.ModelWeights(tuple(trainable), weights.non_trainable)

  return _build_process(initial_state, apply)


def build_corrected_finalizer(
  context: base.Context,
  update_type: tff.Type,
  initial: Callable[[], Any],
  correct: Callable[[Any, Any], tuple[Any, tuple[tf.Tensor, ...]]],
) -> tff.learning.templates.FinalizerProcess:
  """Builds the finalizer whose optimizer takes what an algorithm makes of the mean update.

  Args:
    context: What the algorithm was built for.
    update_type: The type of the mean update.
    initial: Returns the state of the algorithm before the first round: nested tuples of tensors.
    correct: Returns the next state and the gradient for the optimizer, given the state and the mean update.
  """
  optimizer, weights_type = context.server_optimizer, context.weights_type

  @tff.tensorflow.computation
  def initial_state() -> Any:
    return initial(), optimizer.initialize(_specs(weights_type))

  state_type = initial_state.type_signature.result

  @tff.tensorflow.computation(state_type, weights_type, update_type)
  def apply(state: Any, weights: Any, update: Any) -> Any:
    own, of_optimizer = state
    own, gradient = correct(own, update)
    of_optimizer, trainable = optimizer.next(of_optimizer, weights.trainable, gradient)
    return (own, of_optimizer), tff.learning.models.ModelWeights(tuple(trainable), weights.non_trainable)

  return _build_process(initial_state, apply)


def _specs(weights_type: tff.Type) -> tuple[tf.TensorSpec, ...]:
  return tuple(tf.TensorSpec(one.shape, one.dtype) for one in weights_type.trainable)


def _build_process(
  initial_state: tff.framework.ConcreteComputation, apply: tff.framework.ConcreteComputation
) -> tff.learning.templates.FinalizerProcess:
  """Returns the process of `initial_state() -> state` and `apply(state, weights, update) -> (state, weights)`."""

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_eval(initial_state, tff.SERVER)

  @tff.federated_computation(*(tff.FederatedType(one, tff.SERVER) for one in apply.type_signature.parameter))
  def next_round(state: Any, weights: Any, update: Any) -> Any:
    new_state, new_weights = tff.federated_map(apply, (state, weights, update))
    return tff.templates.MeasuredProcessOutput(new_state, new_weights, tff.federated_value((), tff.SERVER))

  return tff.learning.templates.FinalizerProcess(initialize, next_round)
