"""float16: weights as 16-bit floats, which the device turns back into float32 before it computes."""

from typing import TYPE_CHECKING

from export import parity
from export.variants import base

if TYPE_CHECKING:
  import tensorflow as tf


class Float16(base.Variant):
  """All weights in half of the bytes, with answers that are nearly the same.

  Rounding showed as differences of at most 7e-4 of the largest logit, on models with small and with large weights. Of
  nearly equal logits the other may be the larger one then. A weight that is lost shows as more than 1e-2.
  """

  name = 'float16'
  summary = 'weights in half of the bytes, nearly the same answers'
  bounds = parity.Bounds(0.99, 5e-3)

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    import tensorflow as tf

    converter = base.build_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()
