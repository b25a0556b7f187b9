"""Values of TFF types as flat lists, in the order of the type, and back.

`tf.nest` will not do: it sorts dictionaries by key, TFF keeps the order of the type.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import math
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff


def flatten(value: Any, value_type: tff.Type) -> list[Any]:
  """Returns the leaves of a structure of Python containers, in the order of its type."""
  if isinstance(value_type, tff.FederatedType):
    return flatten(value, value_type.member)
  if isinstance(value_type, tff.TensorType):
    return [value]
  leaves = []
  for index, (name, element_type) in enumerate(tff.structure.iter_elements(value_type)):
    leaves.extend(flatten(_element(value, index, name), element_type))
  return leaves


def specs(value_type: tff.Type) -> list[tf.TensorSpec]:
  """Returns the shapes and dtypes of the leaves of a type."""
  if isinstance(value_type, tff.FederatedType):
    return specs(value_type.member)
  if isinstance(value_type, tff.TensorType):
    return [tf.TensorSpec(value_type.shape, value_type.dtype)]
  return [spec for _, element in tff.structure.iter_elements(value_type) for spec in specs(element)]


def count_numbers(value_type: tff.Type) -> int:
  """Returns how many numbers the tensors of a type have together."""
  return sum(spec.shape.num_elements() for spec in specs(value_type))


def names(value_type: tff.Type, name: str | None = None) -> list[str | None]:
  """Returns the names of the leaves of a type, without those of the structures around them."""
  if isinstance(value_type, tff.TensorType):
    return [name]
  return [leaf for name, element in tff.structure.iter_elements(value_type) for leaf in names(element, name)]


def join(tensors: Iterable[Any]) -> tf.Tensor:
  """Returns the numbers of tensors as one vector."""
  return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def split(vector: Any, shapes: Sequence[Sequence[int]]) -> list[tf.Tensor]:
  """Returns a vector as tensors of these shapes: what `join` was given."""
  parts = tf.split(vector, [math.prod(shape) for shape in shapes])
  return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def choose(condition: tf.Tensor, value: Any, other: Any, value_type: tff.Type) -> Any:
  """Returns one of two structures of a type, the first if the condition is true."""
  leaves = zip(*(flatten(one, value_type) for one in (value, other)), strict=True)
  return pack([tf.where(condition, *pair) for pair in leaves], value_type)


def pack(leaves: Iterable[Any], value_type: tff.Type) -> Any:
  """Returns the structure, in the Python containers of the type, that has the given leaves."""
  return _pack(iter(leaves), value_type)


def _element(value: Any, index: int, name: str | None) -> Any:
  if name is None:
    return value[index]
  return value[name] if isinstance(value, Mapping) else getattr(value, name)


def _pack(leaves: Iterator[Any], value_type: tff.Type) -> Any:
  if isinstance(value_type, tff.FederatedType):
    return _pack(leaves, value_type.member)
  if isinstance(value_type, tff.TensorType):
    return next(leaves)
  elements = [(name, _pack(leaves, element)) for name, element in tff.structure.iter_elements(value_type)]
  container = value_type.python_container if isinstance(value_type, tff.StructWithPythonType) else tuple
  if issubclass(container, Mapping):
    return container(elements)
  if elements and elements[0][0] is not None and container is not tuple:
    return container(**dict(elements))
  return container(element for _, element in elements)
