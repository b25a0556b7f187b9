"""TFF's secure sums as plain ones: a simulation has nobody to hide a client's integers from.

What comes out is what a secure protocol would give. TFF's test backend has such a replacement too. It is not used: its
modular sum takes the remainder at the end, which is wrong once the sum leaves the integer type, and it checks inputs
with assertions, which XLA drops. Here every addition takes the remainder, and inputs and sums that do not fit are
counted.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.python.core.environments.tensorflow_backend import tensorflow_tree_transformations
from tensorflow_federated.python.core.impl.compiler import building_blocks
from tensorflow_federated.python.core.impl.computation import computation_impl

from tff_tasks.runtime import tff_structures

_PREFIX = b'federated_secure_'
# The largest input that the second argument of each form allows, int64, and whether the sum is modular: then it has the
# same limit.
_FORMS: dict[str, tuple[Callable[[tf.Tensor], tf.Tensor], bool]] = {
  'federated_secure_modular_sum': (lambda modulus: modulus - 1, True),
  'federated_secure_sum': (lambda max_input: max_input, False),
  'federated_secure_sum_bitwidth': (lambda bits: _largest_of(bits), False),
}


def make_plain(computation: tff.framework.ConcreteComputation) -> tff.framework.ConcreteComputation:
  """Returns a federated computation whose secure sums are plain sums.

  An input that is negative or above the limit of its sum ends the round with an error, and so does a sum that does not
  fit its type. Of the inputs of a modular sum TFF has taken the remainder before.
  """
  if _PREFIX not in tff.framework.serialize_computation(computation).SerializeToString():
    return computation
  block = computation.to_building_block()
  for uri, (limit, is_modular) in _FORMS.items():
    body = functools.partial(_build_sum, limit, is_modular)
    block, _ = tensorflow_tree_transformations.reduce_intrinsic(block, uri, body)
  return computation_impl.ConcreteComputation.from_building_block(block)


def _largest_of(bits: tf.Tensor) -> tf.Tensor:
  """Returns the largest number of so many bits, in int64."""
  power = tf.bitwise.left_shift(tf.ones([], tf.int64), tf.clip_by_value(bits, 0, 62))
  return tf.where(bits > 62, tf.int64.max, power - 1)


def _add(
  specs: Sequence[tf.TensorSpec], is_modular: bool, sums: Any, others: Any, limits: Any
) -> tuple[tuple[tf.Tensor, ...], tf.Tensor]:
  """Returns sums of integers that are not negative, and how many of the sums do not fit their type."""
  added, outside = [], tf.constant(0, tf.int64)
  for one, other, most, spec in zip(sums, others, limits, specs, strict=True):
    wide, more = tf.cast(one, tf.int64), tf.cast(other, tf.int64)
    largest = min(spec.dtype.max, tf.int64.max)
    # Compared before they are added: the sum may leave 64 bits.
    left = (most if is_modular else largest) - more
    total = tf.where(wide > left, wide - left - 1, wide + more)
    outside += tf.math.count_nonzero(total > largest if is_modular else wide > left)
    added.append(tf.cast(total, spec.dtype))
  return tuple(added), outside


def _build_sum(
  limit: Callable[[tf.Tensor], tf.Tensor], is_modular: bool, argument: building_blocks.ComputationBuildingBlock
) -> building_blocks.ComputationBuildingBlock:
  """Returns what takes the place of a secure sum of `<values at the clients, what limits them>`."""
  values_type, limit_type = argument.type_signature
  value_type = values_type.member
  specs = tff_structures.specs(value_type)
  add = functools.partial(_add, specs, is_modular)

  @tff.tensorflow.computation(limit_type)
  def zero(limits: Any) -> Any:
    wide = [limit(tf.cast(one, tf.int64)) for one in tff_structures.flatten(limits, limit_type)]
    zeros = tuple(tf.zeros(spec.shape, spec.dtype) for spec in specs)
    # One limit may be for all values.
    return zeros, tuple(wide if len(wide) == len(specs) else wide * len(specs)), tf.constant(0, tf.int64)

  total_type = zero.type_signature.result

  @tff.tensorflow.computation(total_type, value_type)
  def accumulate(total: Any, value: Any) -> Any:
    sums, limits, outside = total
    leaves = [tf.cast(one, tf.int64) for one in tff_structures.flatten(value, value_type)]
    for one, most in zip(leaves, limits, strict=True):
      outside += tf.math.count_nonzero((one < 0) | (one > most))
    added, unfit = add(sums, leaves, limits)
    return added, limits, outside + unfit

  @tff.tensorflow.computation(total_type, total_type)
  def merge(total: Any, other: Any) -> Any:
    added, unfit = add(total[0], other[0], total[1])
    return added, total[1], total[2] + other[2] + unfit

  @tff.tensorflow.computation(total_type)
  def report(total: Any) -> Any:
    sums, _, outside = total
    check = tf.debugging.Assert(
      tf.equal(outside, 0),
      [
        'Expected integers within the limits of a secure sum, and sums that fit their type, found so many others:',
        outside,
      ],
    )
    with tf.control_dependencies([check]):
      return tff_structures.pack(map(tf.identity, sums), value_type)

  @tff.federated_computation(argument.type_signature)
  def sum_plainly(values: Any, limits: Any) -> Any:
    return tff.federated_aggregate(values, zero(limits), accumulate, merge, report)

  return building_blocks.Call(sum_plainly.to_building_block(), argument)
