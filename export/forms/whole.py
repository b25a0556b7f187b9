"""whole: a whole example a call.

A batch of one, recurrent layers unrolled, float or int32 inputs as the Keras model has them, float outputs. That form
ran in every device runtime tried; a dynamic batch needs TensorFlow's own kernels, and the fused LSTM keeps state from
one call to the next.
"""

from collections.abc import Iterator
import itertools
from typing import TYPE_CHECKING, Any

from contracts import released_model
from export import parity
from export import quantization
from export.forms import base

if TYPE_CHECKING:
  import numpy as np
  import tensorflow as tf


class Whole(base.Form):
  """Every model has it."""

  name = 'whole'
  reference = 'float32'
  call = 'one example a call'

  def build(self, released: released_model.ReleasedModel, task: str, run_dir: str) -> 'tf.keras.Model':
    del run_dir
    from models import registry  # Here, with TensorFlow behind it, so that only the child loads that.

    return registry.rebuild(released, unroll=True, batch_size=1, name=task)

  def answers(self, path: str, features: 'np.ndarray') -> parity.Answers:
    return parity.tflite_answers(path, features)

  def calls(self, interpreter: Any, features: 'np.ndarray') -> Iterator['np.ndarray']:
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    inputs = quantization.encode(features, given)
    for row in itertools.cycle(range(len(inputs))):
      interpreter.set_tensor(given['index'], inputs[row : row + 1])
      interpreter.invoke()
      yield interpreter.get_tensor(returned['index'])
