"""Files whose operations compute with 8-bit integers alone."""

from collections.abc import Collection
import re
from typing import TYPE_CHECKING

from export import operations
from export import parity
from export.variants import base
from models import unsupported

if TYPE_CHECKING:
  import tensorflow as tf

# What the converter says of an operation that it cannot make of integers.
_NO_KERNEL = re.compile("not yet supported for op: '(\\w+)'")


def build_converter(model: 'tf.keras.Model', calibration: parity.Examples | None) -> 'tf.lite.TFLiteConverter':
  """Returns a converter to operations on 8-bit integers.

  Args:
    model: The model, with a batch of one.
    calibration: Examples that show the range of every value inside of the model.

  Raises:
    ValueError: If there are none.
  """
  import tensorflow as tf

  features = base.require_examples(calibration).features.astype(model.input.dtype.as_numpy_dtype)
  converter = base.build_converter(model)
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.representative_dataset = lambda: ([features[row : row + 1]] for row in range(len(features)))
  converter.target_spec.supported_ops = base.list_operations(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
  return converter


def require(content: bytes, model: 'tf.keras.Model', besides: Collection[str] = ()) -> bytes:
  """Returns a file whose operations all compute with integers.

  Args:
    content: The file.
    model: What it was made from.
    besides: Layers that may compute with floats, by name.

  Raises:
    Unsupported: If some compute with floats: the converter leaves them as they are where it has no kernel of integers.
  """
  found = operations.find_floats(operations.read(content))
  found = [each for each in found if not operations.is_of(each, besides)]
  if found:
    raise _without_kernel(operations.name_with_layers(found, model))
  return content


def convert(converter: 'tf.lite.TFLiteConverter', model: 'tf.keras.Model') -> bytes:
  """Returns a file whose operations all compute with integers.

  Args:
    converter: What `build_converter` returned, with the settings that it needs.
    model: What it converts.

  Raises:
    Unsupported: If an operation has no kernel of integers.
  """
  try:
    return require(converter.convert(), model)
  except RuntimeError as error:
    missing = _NO_KERNEL.search(str(error))
    if not missing:
      raise
    of_float32 = operations.read(base.build_converter(model).convert())
    same = [each for each in of_float32 if each.name == missing[1]]
    raise _without_kernel(operations.name_with_layers(same, model) or missing[1]) from error


def _without_kernel(names: str) -> unsupported.Unsupported:
  return unsupported.Unsupported(
    f'Expected operations that have kernels of integers, found {names}: take dynamic_range for this model.'
  )
