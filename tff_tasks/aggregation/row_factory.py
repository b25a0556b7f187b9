"""Gathered updates, combined on the server, as a stock TFF factory."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.aggregation import gathering
from tff_tasks.runtime import tff_structures


class _Row(NamedTuple):
  """The update of a client as one vector, and whether it counts."""

  counts: Any
  values: Any


class RowFactory(tff.aggregators.WeightedAggregationFactory):
  """Gathers values and combines those whose weight is above zero; the result is zero if there is none.

  Args:
    combine: The function `float32 [clients, numbers] -> float32 [numbers]`, in TensorFlow, of at least one client.
  """

  def __init__(self, combine: Callable[[tf.Tensor], tf.Tensor]) -> None:
    self._combine = combine

  def create(self, value_type: tff.Type, weight_type: tff.Type) -> tff.templates.AggregationProcess:
    """Returns the process of values of this type: structures of float32 tensors."""

    @tff.tensorflow.computation(value_type, weight_type)
    def make_row(value: Any, weight: tf.Tensor) -> Any:
      return _Row(weight > 0, tff_structures.join(tff_structures.flatten(value, value_type)))

    row_type = make_row.type_signature.result

    @tff.tensorflow.computation(gathering.type_of_rows(row_type))
    def combine(rows: Any) -> Any:
      counted = tf.boolean_mask(rows.values, rows.counts)
      (size,) = row_type.values.shape
      found = tf.cond(tf.shape(counted)[0] > 0, lambda: self._combine_some(counted, size), lambda: tf.zeros([size]))
      return _split(found, value_type)

    @tff.federated_computation
    def initialize() -> Any:
      return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(
      initialize.type_signature.result,
      tff.FederatedType(value_type, tff.CLIENTS),
      tff.FederatedType(weight_type, tff.CLIENTS),
    )
    def next_round(state: Any, value: Any, weight: Any) -> Any:
      rows = gathering.gather(tff.federated_map(make_row, (value, weight)))
      measured = tff.federated_value((), tff.SERVER)
      return tff.templates.MeasuredProcessOutput(state, tff.federated_map(combine, rows), measured)

    return tff.templates.AggregationProcess(initialize, next_round)

  def _combine_some(self, rows: tf.Tensor, size: int) -> tf.Tensor:
    found = tf.convert_to_tensor(self._combine(rows))
    if found.dtype != tf.float32 or not found.shape.is_compatible_with([size]):
      name = getattr(self._combine, '__qualname__', 'combine')
      raise ValueError(
        f'Expected {name} to return float32 [{size}], found {found.dtype.name} {found.shape}: one number for each '
        'column of its rows.'
      )
    return tf.ensure_shape(found, [size])


def _split(vector: tf.Tensor, value_type: tff.Type) -> Any:
  """Returns a vector as a structure of this type."""
  shapes = [spec.shape for spec in tff_structures.specs(value_type)]
  return tff_structures.pack(tff_structures.split(vector, shapes), value_type)
