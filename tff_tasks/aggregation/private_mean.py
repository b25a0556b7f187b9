"""The update path, composed in one place: clip and quantize on the client, sum, noise and divide on the server.

The noise is calibrated to the norm bound that holds after rounding, and the sum is divided by the expected number of
clients, which does not depend on who came: the two ways in which a federated mean usually breaks its guarantee.
"""

import collections
from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.compression import quantization
from tff_tasks.population import seeds
from tff_tasks.privacy import noise as noise_lib
from tff_tasks.privacy import plan as plan_lib

_SEED_TYPE = tff.TensorType(np.int32, (2,))
# float32 is wrong about a norm by some 1e-6, however many squares it adds up; shrinking by this much keeps clipped
# vectors within the clip.
_FLOAT32_SLACK = 1e-5
# Numbers of an update whose tensors are joined to one vector.
_SMALL = 1 << 16
_NOISE = 'noise'  # Where the state of the aggregation has the noise of the round that comes.


def clip(tensors: Sequence[tf.Tensor], clip_norm: float | None) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
  """Scales an update down to the clip; one that is not finite becomes zero.

  Args:
    tensors: The float32 tensors of the update.
    clip_norm: The largest L2 norm of all of them together, or None for no limit.

  Returns:
    The tensors, their norm before (0 if not finite), and whether it was finite.
  """
  norm = tf.linalg.global_norm(tensors)
  is_finite = tf.math.is_finite(norm)
  norm = tf.where(is_finite, norm, 0.0)
  scale = tf.cast(is_finite, tf.float32)
  if clip_norm is not None:
    scale *= tf.minimum(1.0, clip_norm * (1 - _FLOAT32_SLACK) / tf.maximum(norm, 1e-30))
  # A product in which zero wins over NaN and infinity.
  return [tf.math.multiply_no_nan(tensor, scale) for tensor in tensors], norm, is_finite


@dataclasses.dataclass(frozen=True)
class UpdatePath:
  """The TensorFlow of the aggregation, on the client (`encode`) and on the server (`finish`).

  Attributes:
    plan: Says how to clip, quantize and noise, and what to divide by.
    shapes: The shapes of the tensors of an update.
  """

  plan: plan_lib.PrivacyPlan
  shapes: tuple[tuple[int, ...], ...]

  @property
  def sizes(self) -> list[int]:
    return [math.prod(shape) for shape in self.shapes]

  @property
  def codec(self) -> quantization.Encoding | None:
    return self.plan.codec(sum(self.sizes))

  def encode(self, tensors: Sequence[tf.Tensor], rotation_seed: tf.Tensor, rounding_seed: tf.Tensor) -> tuple[Any, ...]:
    """Returns what a client sends (tensors, or the codec's integers), the norm of its update, and what is counted."""
    if self._is_joined:
      tensors = [tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)]
    clipped, norm, is_finite = clip(tensors, self.plan.clip_norm)
    encoded = self.codec.encode(clipped[0], rotation_seed, rounding_seed) if self.codec else tuple(clipped)
    is_clipped = norm > (math.inf if self.plan.clip_norm is None else self.plan.clip_norm)
    counted = collections.OrderedDict(
      clients=tf.constant(1),
      norm_sum=norm,
      clipped=tf.cast(is_clipped, tf.int32),
      rejected=tf.cast(tf.logical_not(is_finite), tf.int32),
    )
    return encoded, norm, counted

  def finish(self, total: Any, rotation_seed: tf.Tensor, noise: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
    """Returns the mean of the updates whose encoded sum is `total`.

    Args:
      total: The sum.
      rotation_seed: That of the round.
      noise: int64 of the codec's size, added to the sum before anything else happens to it; None if the plan has none.
        Anything of another size, also nothing, ends the round with an error: never a mean without noise.

    Raises:
      ValueError: If the plan has noise and `noise` is None, or the other way round.
    """
    if (noise is not None) != self.plan.is_private:
      raise ValueError(f'Expected noise if and only if the plan is private, found {noise} for {self.plan}.')
    if self.codec is None:
      tensors = self._split(total[0]) if self._is_joined else total
      return tuple(tensor / self.plan.clients_per_round for tensor in tensors)
    if noise is not None:
      total = tf.cast(total, tf.int64) + tf.ensure_shape(noise, [self.codec.encoded_size])
    mean = self.codec.decode(total, rotation_seed) / self.plan.clients_per_round
    return tuple(self._split(tf.cast(mean, tf.float32)))

  @property
  def _is_joined(self) -> bool:
    """Whether an update travels as one vector: an operation more costs as much as some thousands of numbers."""
    return self.codec is not None or sum(self.sizes) <= _SMALL

  def _split(self, vector: tf.Tensor) -> list[tf.Tensor]:
    """Cuts a vector of all coordinates into the tensors of an update."""
    parts = tf.split(vector, self.sizes)
    return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]


class RoundNoise:
  """Puts the noise of a round into the state that the round begins with.

  Args:
    plan: Says how much noise.
    dimension: Number of weights of the model.
    seed: Where it comes from.
  """

  def __init__(self, plan: plan_lib.PrivacyPlan, dimension: int, seed: seeds.Seed) -> None:
    self._source = None
    if plan.is_private and (codec := plan.codec(dimension)):
      key, stddev = seed.key('noise'), plan.noise_levels(dimension)
      self._source = noise_lib.RoundedGaussian(key, stddev, codec.encoded_size)

  def add(self, round_number: int, state: Any) -> Any:
    """Returns the state of a learning process with the noise of a round, which begins at 1, if the plan has noise.

    The state that comes out of the round has none. A state without noise, or with that of another plan, ends the round
    with an error.

    Raises:
      ValueError: If it is the state before another round.
    """
    if self._source is None:
      return state
    following = int(state.aggregator['round']) + 1
    if round_number != following:
      raise ValueError(f'Expected noise for round {following}, found that of round {round_number}.')
    aggregator = collections.OrderedDict(state.aggregator)
    aggregator[_NOISE] = self._source.draw(round_number)
    return state._replace(aggregator=aggregator)


def build_aggregator(
  weights_type: tff.StructType, plan: plan_lib.PrivacyPlan, seed: seeds.Seed
) -> tff.templates.AggregationProcess:
  """Builds the aggregation of updates `(delta, rounding_seed)` to their noised mean.

  Args:
    weights_type: The type of `delta`: a structure of float32 tensors.
    plan: Says how to clip, quantize and noise, and what to divide by.
    seed: Where the rotation comes from.

  Returns:
    An `AggregationProcess` that ignores the weights of clients (the sensitivity of a weighted mean is not clip over
    clients); its state counts the rounds and takes the noise of the next one, which `RoundNoise` draws.
  """
  path = UpdatePath(plan, tuple(tuple(tensor_type.shape) for tensor_type in weights_type))
  update_type = tff.to_type(collections.OrderedDict(delta=weights_type, rounding_seed=_SEED_TYPE))

  initial_state = tff.tensorflow.computation(lambda: _initial_state(plan, seed))
  state_type = initial_state.type_signature.result

  @tff.tensorflow.computation(state_type)
  def rotation_seed_of_round(state: Any) -> tf.Tensor:
    return _fold_in(state['rotation_seed'], state['round'])

  @tff.tensorflow.computation(update_type, _SEED_TYPE)
  def encode(update: Any, rotation_seed: tf.Tensor) -> Any:
    return path.encode(list(update['delta']), rotation_seed, update['rounding_seed'])

  @tff.tensorflow.computation(state_type, encode.type_signature.result[0])
  def finish(state: Any, total: Any) -> Any:
    new_state = collections.OrderedDict(state, round=state['round'] + 1, **_no_noise(plan))
    return new_state, path.finish(total, _fold_in(state['rotation_seed'], state['round']), state.get(_NOISE))

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_eval(initial_state, tff.SERVER)

  @tff.federated_computation(
    tff.FederatedType(state_type, tff.SERVER),
    tff.FederatedType(update_type, tff.CLIENTS),
    tff.FederatedType(np.float32, tff.CLIENTS),
  )
  def next_round(state: Any, update: Any, weight: Any) -> Any:
    del weight
    rotation_seed = tff.federated_broadcast(tff.federated_map(rotation_seed_of_round, state))
    encoded, norm, counted = tff.federated_map(encode, (update, rotation_seed))
    new_state, mean = tff.federated_map(finish, (state, tff.federated_sum(encoded)))
    measurements = tff.federated_zip(
      collections.OrderedDict(sums=tff.federated_sum(counted), norm_max=tff.federated_max(norm))
    )
    return tff.templates.MeasuredProcessOutput(new_state, mean, measurements)

  return tff.templates.AggregationProcess(initialize, next_round)


def _initial_state(plan: plan_lib.PrivacyPlan, seed: seeds.Seed) -> Any:
  return collections.OrderedDict(
    round=tf.constant(0), rotation_seed=tf.constant(seed.tensor_seed('rotation')), **_no_noise(plan)
  )


def _no_noise(plan: plan_lib.PrivacyPlan) -> dict[str, tf.Tensor]:
  """Returns the state's noise between rounds: an empty vector, of a type that allows any size."""
  return {_NOISE: tf.compat.v1.placeholder_with_default(tf.zeros([0], tf.int64), [None])} if plan.is_private else {}


def _fold_in(seed: Any, number: tf.Tensor) -> tf.Tensor:
  return tf.random.experimental.stateless_fold_in(seed, number, alg='philox')
