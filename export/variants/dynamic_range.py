"""dynamic_range: weights as 8-bit integers, and the activations of each call quantized by their own range."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from export import parity
from export.variants import base

if TYPE_CHECKING:
  import tensorflow as tf


class DynamicRange(base.Variant):
  """Weights of fewer than 1,024 values stay float. No calibration data is needed, so nothing is learned from anybody.

  Rounding changes its answers. Its figures are printed for the user to judge, and its bound only refuses a file that is
  broken rather than rounded.
  """

  name = 'dynamic_range'
  summary = 'small, the default for phones'
  bounds = parity.Bounds(0.8, None)

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    import tensorflow as tf

    converter = base.build_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()

  def describe(self, stored: Mapping[str, int]) -> str:
    if stored['int8']:
      return super().describe(stored)
    return (
      f'{base.describe_float32(stored)}, as in float32: the converter quantizes no tensor of fewer than 1,024 values'
    )
