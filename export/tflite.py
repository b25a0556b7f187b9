"""Keras -> .tflite bytes, one function per variant.

Every variant starts from the same form: a batch of one, recurrent layers unrolled, float or int32 inputs as the Keras
model has them, float outputs, built-in operations only. That form ran in every device runtime tried; a dynamic batch
needs TensorFlow's own kernels, and the fused LSTM keeps state from one call to the next.

TensorFlow is imported by the functions that convert: they run in a guarded child, whose parent only reads the table.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import TYPE_CHECKING

from contracts import released_model
from export import parity

if TYPE_CHECKING:
  import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Variant:
  """A way to write the model as a file.

  Attributes:
    convert: The model in the device's form to the bytes of the file.
    bounds: How far the file may be from the Keras model.
    purpose: What the file is for, a phrase for the model card.
  """

  convert: Callable[['tf.keras.Model'], bytes]
  bounds: parity.Bounds
  purpose: str


def _converter(model: 'tf.keras.Model') -> 'tf.lite.TFLiteConverter':
  import tensorflow as tf

  converter = tf.lite.TFLiteConverter.from_keras_model(model)
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
  return converter


def float32(model: 'tf.keras.Model') -> bytes:
  """Converts as it is: the same numbers as in training, up to the order of additions."""
  return _converter(model).convert()


def dynamic_range(model: 'tf.keras.Model') -> bytes:
  """Converts with weights as 8-bit integers and each call's activations quantized by their own range.

  Weights of fewer than 1,024 values stay float. No calibration data is needed, so nothing is learned from anybody.
  """
  import tensorflow as tf

  converter = _converter(model)
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  return converter.convert()


# float32: the kernels add in another order than Keras. That showed as differences of at most 7e-7 of the largest logit,
# on models with small and with large weights. A weight that is lost or swapped, a state that leaks or another
# activation shows as more than 1e-2. The bound lies between, and the bound of the agreement allows for ties alone.
# dynamic_range: rounding changes its answers. Its figures are printed for the user to judge, and its bound only refuses
# a file that is broken rather than rounded.
# A recurrent model with exploding weights fails even as float32: it is chaotic, and Keras differs as much from itself
# when the weights change by 1e-7 of their size.
REFERENCE = 'float32'
VARIANTS = {
  REFERENCE: Variant(float32, parity.Bounds(0.999, 1e-4), 'full precision'),
  'dynamic_range': Variant(dynamic_range, parity.Bounds(0.8, None), 'small, the default for phones'),
}


# The number of weights of the Keras model, which the card also gives, is smaller.
_STORED = 'stored values (weights and constants)'


def summarize(variant: str, stored: Mapping[str, int]) -> str:
  """Returns what a file is for and what it stores, a phrase for the model card.

  Args:
    variant: Of which it is.
    stored: `parity.Answers.stored`.
  """
  purpose, quantized, whole = VARIANTS[variant].purpose, stored['int8'], stored['float32']
  if quantized:
    total = f'{quantized + whole:,} {_STORED}'
    return f'{purpose}: of {total} {quantized:,} are 8-bit integers, the others float32'
  everything = f'all {whole:,} {_STORED} are float32'
  if variant == REFERENCE:
    return f'{purpose}: {everything}'
  return f'{everything}, as in {REFERENCE}: the converter quantizes no tensor of fewer than 1,024 values'


def file_name(task: str, variant: str) -> str:
  """Returns the name of the variant's file in the model folder."""
  return f'{task}_{variant}.tflite'


def convert(run_dir: str, variant: str) -> bytes:
  """Converts the released model of a run; meant for a guarded child process.

  Raises:
    ValueError: If the released model is missing or damaged.
  """
  from models import registry  # Not above: only the child process loads TensorFlow.

  return VARIANTS[variant].convert(registry.rebuild(released_model.load(run_dir), unroll=True, batch_size=1))
