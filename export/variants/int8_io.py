"""int8_io: as int8, and the input and the output are integers too, which its scale and zero point turn into numbers."""

from typing import TYPE_CHECKING

from export import parity
from export.variants import int8
from export.variants import integers

if TYPE_CHECKING:
  import tensorflow as tf


class Int8InOut(int8.Int8):
  """The app quantizes the input and reads the integers of the output; preprocessing.json says how.

  Codes of a vocabulary stand for no numbers, and stay int32.
  """

  name = 'int8_io'
  summary = 'integers inside, in and out, for accelerators that take no floats'

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    import tensorflow as tf

    converter = integers.build_converter(model, calibration)
    if model.input.dtype.is_floating:
      converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return integers.convert(converter, model)
