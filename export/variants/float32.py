"""float32: the same numbers as in training, up to the order of additions."""

from typing import TYPE_CHECKING

from export import parity
from export.variants import base

if TYPE_CHECKING:
  import tensorflow as tf


class Float32(base.Variant):
  """Converts the model as it is.

  The kernels add in another order than Keras. That showed as differences of at most 7e-7 of the largest logit, on
  models with small and with large weights. A weight that is lost or swapped, a state that leaks or another activation
  shows as more than 1e-2. The bound lies between, and the bound of the agreement allows for ties alone. A recurrent
  model with exploding weights fails: it is chaotic, and Keras differs as much from itself when the weights change by
  1e-7 of their size.
  """

  name = 'float32'
  summary = 'full precision'
  bounds = parity.Bounds(0.999, 1e-4)

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    return base.build_converter(model).convert()
