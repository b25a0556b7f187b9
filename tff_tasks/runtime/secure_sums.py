"""TFF's secure sums as plain ones: a simulation has nobody to hide a client's integers from.

What comes out is what a secure protocol would give. TFF's test backend has such a replacement too. It is not used: its
modular sum takes the remainder at the end, which is wrong once the sum leaves the integer type, and it checks inputs
with assertions, which XLA drops. Here every addition takes the remainder, and inputs that do not fit are counted.
"""

from collections.abc import Callable
import functools
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.python.core.environments.tensorflow_backend import tensorflow_tree_transformations
from tensorflow_federated.python.core.impl.compiler import building_blocks
from tensorflow_federated.python.core.impl.computation import computation_impl

from tff_tasks.runtime import tff_structures

_PREFIX = b'federated_secure_'
# How the second argument of each form limits inputs: they lie below this. A sum that is modular has the limit as well.
_FORMS: dict[str, tuple[Callable[[tf.Tensor], tf.Tensor], bool]] = {
  'federated_secure_modular_sum': (lambda modulus: modulus, True),
  'federated_secure_sum': (lambda max_input: max_input + 1, False),
  'federated_secure_sum_bitwidth': (lambda bits: tf.bitwise.left_shift(tf.ones([], tf.int64), bits), False),
}


def make_plain(computation: tff.framework.ConcreteComputation) -> tff.framework.ConcreteComputation:
  """Returns a federated computation whose secure sums are plain sums.

  An input that is negative or above the limit of its sum ends the round with an error. Of the inputs of a modular sum
  TFF has taken the remainder before.
  """
  if _PREFIX not in tff.framework.serialize_computation(computation).SerializeToString():
    return computation
  block = computation.to_building_block()
  for uri, (limit, is_modular) in _FORMS.items():
    body = functools.partial(_build_sum, limit, is_modular)
    block, _ = tensorflow_tree_transformations.reduce_intrinsic(block, uri, body)
  return computation_impl.ConcreteComputation.from_building_block(block)


def _build_sum(
  limit: Callable[[tf.Tensor], tf.Tensor], is_modular: bool, argument: building_blocks.ComputationBuildingBlock
) -> building_blocks.ComputationBuildingBlock:
  """Returns what takes the place of a secure sum of `<values at the clients, what limits them>`."""
  values_type, limit_type = argument.type_signature
  value_type = values_type.member
  specs = tff_structures.specs(value_type)

  def add(sums: Any, others: Any, limits: Any) -> Any:
    added = (tf.cast(one, tf.int64) + tf.cast(other, tf.int64) for one, other in zip(sums, others, strict=True))
    added = (one % most for one, most in zip(added, limits, strict=True)) if is_modular else added
    return tuple(tf.cast(one, spec.dtype) for one, spec in zip(added, specs, strict=True))

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
      outside += tf.math.count_nonzero((one < 0) | (one >= most))
    return add(sums, leaves, limits), limits, outside

  @tff.tensorflow.computation(total_type, total_type)
  def merge(total: Any, other: Any) -> Any:
    return add(total[0], other[0], total[1]), total[1], total[2] + other[2]

  @tff.tensorflow.computation(total_type)
  def report(total: Any) -> Any:
    sums, _, outside = total
    check = tf.debugging.Assert(
      tf.equal(outside, 0), ['Expected integers within the limits of a secure sum, found so many others:', outside]
    )
    with tf.control_dependencies([check]):
      return tff_structures.pack(map(tf.identity, sums), value_type)

  @tff.federated_computation(argument.type_signature)
  def sum_plainly(values: Any, limits: Any) -> Any:
    return tff.federated_aggregate(values, zero(limits), accumulate, merge, report)

  return building_blocks.Call(sum_plainly.to_building_block(), argument)
