"""A variant of one's own: a file that computes with integers only, for devices that have nothing else.

The converter has to know the range of every value inside of the model, and finds it by running examples. The built-in
int8 is given those of a data set (see `calibration` in export/variants/base.py). Where none is public, and those of
clients are no choice, they may be generated, as here: random codes for texts and other sequences, and for tables and
windows of sensors numbers as they are after scaling, with mean 0 and deviation 1. Ranges are then only roughly right.
The comparison with Keras on held-out users says what that costs, and the bound refuses a file that is too far off. Of
unrolled recurrent layers the file is larger than float32's: it has a scale for every step.

  python -m export.to_tflite --run_dir=RUN_DIR --output_dir=runs/integer_only \
    --variants=float32,examples.extensions.integer_only:VARIANT
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from export import parity
from export.variants import base

if TYPE_CHECKING:
  import tensorflow as tf

_EXAMPLES = 200


class IntegerOnly(base.Variant):
  """Weights and activations as 8-bit integers; inputs and logits stay as they are."""

  name = 'integer_only'
  summary = 'for devices without floats inside'
  bounds = parity.Bounds(min_agreement=0.8, max_relative_difference=None)

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    import tensorflow as tf

    converter = base.build_converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _generate(model)
    # Nothing else: an operation without an integer kernel makes the conversion fail.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def _generate(model: 'tf.keras.Model') -> Iterator[list[np.ndarray]]:
  shape, dtype = tuple(model.input.shape), model.input.dtype
  generator = np.random.default_rng(0)  # The same file every time.
  for _ in range(_EXAMPLES):
    if dtype.is_integer:
      yield [generator.integers(0, model.output.shape[-1], shape).astype(dtype.as_numpy_dtype)]
    else:
      yield [generator.normal(size=shape).astype(dtype.as_numpy_dtype)]


VARIANT = IntegerOnly()
