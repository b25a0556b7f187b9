"""Gathering: a row of each client instead of a sum over them, as a TFF aggregation."""

from typing import Any

import tensorflow as tf
import tensorflow_federated as tff


def gather(rows: Any) -> Any:
  """Returns the rows of all clients, in any order; to be called inside of a federated computation.

  Args:
    rows: A named tuple of tensors, placed at the clients.

  Returns:
    The same named tuple at the server, each tensor with one more axis in front, of clients.
  """
  row_type = rows.type_signature.member
  container, types = row_type.python_container, list(row_type)
  total_type = type_of_rows(row_type)

  @tff.tensorflow.computation
  def zero() -> Any:
    return container(*(tf.zeros([0, *one.shape], one.dtype) for one in types))

  @tff.tensorflow.computation(total_type, row_type)
  def accumulate(total: Any, row: Any) -> Any:
    return container(*(tf.concat([some, one[tf.newaxis]], 0) for some, one in zip(total, row, strict=True)))

  @tff.tensorflow.computation(total_type, total_type)
  def merge(total: Any, other: Any) -> Any:
    return container(*(tf.concat([some, more], 0) for some, more in zip(total, other, strict=True)))

  @tff.tensorflow.computation(total_type)
  def report(total: Any) -> Any:
    return total

  return tff.federated_aggregate(rows, zero(), accumulate, merge, report)


def type_of_rows(row_type: tff.StructWithPythonType) -> tff.Type:
  """Returns the type of what `gather` makes of rows of this type."""
  types = (tff.TensorType(one.dtype, (None, *one.shape)) for one in row_type)
  return tff.to_type(row_type.python_container(*types))
