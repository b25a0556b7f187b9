"""int8: weights and activations as 8-bit integers, with ranges that were measured on examples; floats in and out."""

from typing import TYPE_CHECKING

from export import parity
from export.variants import base
from export.variants import integers

if TYPE_CHECKING:
  import tensorflow as tf


class Int8(base.Variant):
  """Computes with integers only, for accelerators that have nothing else.

  The examples have to be like those on the device: values outside of their ranges are clipped. Its bound only refuses a
  file that is broken rather than rounded, as that of dynamic_range. The file of an unrolled recurrent model is larger
  than that of dynamic_range: each step has its own scales.
  """

  name = 'int8'
  summary = 'integers inside, floats in and out, for devices that compute with integers only'
  bounds = parity.Bounds(0.8, None)
  calibration = 'released'
  learned = 'the ranges of the values inside'

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    return integers.convert(integers.build_converter(model, calibration), model)
