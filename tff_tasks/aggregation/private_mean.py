"""The update path, composed in one place: clip and quantize on the client, sum, noise and divide on the server.

The noise is calibrated to the norm bound that holds after rounding, and the sum is divided by the expected number of
clients, which does not depend on who came: the two ways in which a federated mean usually breaks its guarantee.
"""

import collections
from collections.abc import Sequence
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.aggregation import gathering
from tff_tasks.aggregation import round_noise
from tff_tasks.aggregation import tagging
from tff_tasks.compression import base as compression_base
from tff_tasks.population import client_report
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import tff_structures

_SEED_TYPE = tff.TensorType(np.int32, (2,))
# float32 is wrong about a norm by some 1e-6, however many squares it adds up; shrinking by this much keeps clipped
# vectors within the clip.
_FLOAT32_SLACK = 1e-5
# Numbers of an update whose tensors are joined to one vector.
_SMALL = 1 << 16


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


class Encoded(NamedTuple):
  """What becomes of a client's update.

  Attributes:
    sent: What is summed over the clients: tensors, or the codec's integers; with weights also the weight.
    norm: L2 norm of the update before clipping; 0 if it was not finite.
    is_finite: Whether it was; if not, nothing but zeros is sent.
  """

  sent: tuple[Any, ...]
  norm: tf.Tensor
  is_finite: tf.Tensor


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
  def codec(self) -> compression_base.Encoding | None:
    return self.plan.codec(sum(self.sizes))

  def encode(
    self, tensors: Sequence[tf.Tensor], weight: tf.Tensor, rotation_seed: tf.Tensor, rounding_seed: tf.Tensor
  ) -> Encoded:
    """Returns what a client sends, and what is to be known of it.

    Args:
      tensors: Its update.
      weight: float32, the number of its examples; not looked at if all clients have the same weight.
      rotation_seed: int32 `[2]`, the same for all clients of a round.
      rounding_seed: int32 `[2]`, another one for each client.
    """
    if self._is_joined:
      tensors = [tff_structures.join(tensors)]
    clipped, norm, is_finite = clip(tensors, self.plan.clip_norm)
    sent = self.codec.encode(clipped[0], rotation_seed, rounding_seed) if self.codec else tuple(clipped)
    if self.plan.weighting == 'uniform':
      return Encoded((sent,), norm, is_finite)
    weight = tf.where(is_finite, weight, 0.0)
    # A whole number of examples: integers times it are integers, and their sum is exact.
    factor = tf.cast(weight, tf.int64) if self.codec else weight
    weighted = tf.nest.map_structure(lambda part: tf.cast(part, factor.dtype) * factor, sent)
    return Encoded((weighted, weight), norm, is_finite)

  def finish(self, sums: tuple[Any, ...], rotation_seed: tf.Tensor, noise: tf.Tensor | None = None) -> Any:
    """Returns the mean of the updates, a tuple of tensors.

    Args:
      sums: The sums over the clients of `Encoded.sent`.
      rotation_seed: That of the round.
      noise: int64 of the codec's size, added to the sum before anything else happens to it; None if the plan has none.
        Anything of another size, also nothing, ends the round with an error: never a mean without noise.

    Raises:
      ValueError: If the plan has noise and `noise` is None, or the other way round.
    """
    if (noise is not None) != self.plan.is_private:
      raise ValueError(f'Expected noise if and only if the plan is private, found {noise} for {self.plan}.')
    total, *weights = sums
    # The number of clients is not looked at: with noise, it would be one more thing to protect.
    divisor = weights[0] if weights else tf.constant(float(self.plan.clients_per_round))
    if self.codec is None:
      tensors = tff_structures.split(total[0], self.shapes) if self._is_joined else total
      return tuple(tf.math.divide_no_nan(tensor, divisor) for tensor in tensors)
    if noise is not None:
      total = tf.cast(total, tf.int64) + tf.ensure_shape(noise, [self.codec.encoded_size])
    mean = tf.math.divide_no_nan(self.codec.decode(total, rotation_seed), tf.cast(divisor, tf.float64))
    return tuple(tff_structures.split(tf.cast(mean, tf.float32), self.shapes))

  @property
  def _is_joined(self) -> bool:
    """Whether an update travels as one vector: an operation more costs as much as some thousands of numbers."""
    return self.codec is not None or sum(self.sizes) <= _SMALL


def build_aggregator(
  weights_type: tff.StructType, plan: plan_lib.PrivacyPlan, seed: seeds.Seed
) -> tff.templates.AggregationProcess:
  """Builds the aggregation of updates to their noised mean.

  Args:
    weights_type: The type of an update: a structure of float32 tensors.
    plan: Says how to clip, quantize, weight and noise, and what to divide by.
    seed: Where the rotation comes from.

  Returns:
    An `AggregationProcess` of updates, weights (float32, the number of examples) and `ClientTag`s, whose measurements
    are the `ClientReport` of the round. Weights count only if the plan says so: with noise it cannot, for the
    sensitivity of a weighted mean is not clip over clients. Its state counts the rounds and takes the noise of the next
    one, which `round_noise.RoundNoise` draws.
  """
  path = UpdatePath(plan, tuple(tuple(tensor_type.shape) for tensor_type in weights_type))
  initial_state = tff.tensorflow.computation(lambda: _initial_state(plan, seed))
  state_type = initial_state.type_signature.result

  @tff.tensorflow.computation(state_type)
  def rotation_seed_of_round(state: Any) -> tf.Tensor:
    return _fold_in(state['rotation_seed'], state['round'])

  @tff.tensorflow.computation(weights_type, np.float32, tagging.TAG_TYPE, _SEED_TYPE)
  def encode(update: Any, weight: tf.Tensor, tag: Any, rotation_seed: tf.Tensor) -> Any:
    encoded = path.encode(list(update), weight, rotation_seed, tag.rounding_seed)
    return encoded.sent, client_report.ClientReport(tag.index, tag.examples, encoded.is_finite, encoded.norm)

  @tff.tensorflow.computation(state_type, encode.type_signature.result[0])
  def finish(state: Any, sums: Any) -> Any:
    new_state = collections.OrderedDict(state, round=state['round'] + 1, **_no_noise(plan))
    return new_state, path.finish(sums, _fold_in(state['rotation_seed'], state['round']), state.get(round_noise.NOISE))

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_eval(initial_state, tff.SERVER)

  @tff.federated_computation(
    tff.FederatedType(state_type, tff.SERVER),
    tff.FederatedType(weights_type, tff.CLIENTS),
    tff.FederatedType(np.float32, tff.CLIENTS),
    tff.FederatedType(tagging.TAG_TYPE, tff.CLIENTS),
  )
  def next_round(state: Any, update: Any, weight: Any, tag: Any) -> Any:
    rotation_seed = tff.federated_broadcast(tff.federated_map(rotation_seed_of_round, state))
    sent, report = tff.federated_map(encode, (update, weight, tag, rotation_seed))
    new_state, mean = tff.federated_map(finish, (state, tff.federated_sum(sent)))
    return tff.templates.MeasuredProcessOutput(new_state, mean, gathering.gather(report))

  return tff.templates.AggregationProcess(initialize, next_round)


def _initial_state(plan: plan_lib.PrivacyPlan, seed: seeds.Seed) -> Any:
  return collections.OrderedDict(
    round=tf.constant(0), rotation_seed=tf.constant(seed.tensor_seed('rotation')), **_no_noise(plan)
  )


def _no_noise(plan: plan_lib.PrivacyPlan) -> dict[str, tf.Tensor]:
  """Returns the state's noise between rounds: an empty vector, of a type that allows any size."""
  return (
    {round_noise.NOISE: tf.compat.v1.placeholder_with_default(tf.zeros([0], tf.int64), [None])}
    if plan.is_private
    else {}
  )


def _fold_in(seed: Any, number: tf.Tensor) -> tf.Tensor:
  return tf.random.experimental.stateless_fold_in(seed, number, alg='philox')
