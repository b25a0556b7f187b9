"""qat: int8 after fine-tuning with the rounding of int8 simulated, so that the weights learn to live with it."""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from export import parity
from export.variants import base
from export.variants import fine_tuning
from export.variants import integers

if TYPE_CHECKING:
  import tensorflow as tf

# Of what tensorflow-model-optimization calls the ranges of what a layer gives, their least and their largest values.
_LEAST = ('post_activation_min', 'output_min')
_LARGEST = ('post_activation_max', 'output_max')


class QuantizationAware(fine_tuning.FineTuned):
  """Quantization-aware fine-tuning, after training: inside of federated rounds the ranges would not be learned."""

  name = 'qat'
  summary = 'integers inside, fine-tuned for that, floats in and out'
  learned = 'the weights and the ranges of the values inside'
  technique = 'quantization-aware training'
  learning_rate = 1e-4

  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    # What comes before the first weights scales the input, which is of floats.
    before = itertools.takewhile(lambda layer: not layer.weights, model.layers)
    return integers.require(super().convert(model, calibration), model, [layer.name for layer in before])

  def supports(self, layer: 'tf.keras.layers.Layer') -> bool:
    import tensorflow_model_optimization as tfmot

    return tfmot.quantization.keras.default_8bit.Default8BitQuantizeRegistry().supports(layer)

  def wrap(self, model: 'tf.keras.Model', examples: parity.Examples) -> 'tf.keras.Model':
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
      default_8bit_quantize_configs as configs,
    )

    keras = tfmot.quantization.keras

    def annotate(layer: 'tf.keras.layers.Layer') -> Any:
      # Of one that is not supported and has no weights, what it gives is quantized.
      config = None if self.supports(layer) else configs.Default8BitOutputQuantizeConfig()
      return keras.quantize_annotate_layer(layer, config)

    with keras.quantize_scope():
      annotated = tf.keras.models.clone_model(model, clone_function=annotate)
      annotated.set_weights(model.get_weights())
      wrapped = keras.quantize_apply(annotated, quantized_layer_name_prefix='')
    _set_ranges(wrapped, model, examples)
    return wrapped

  def finish(self, model: 'tf.keras.Model') -> 'tf.lite.TFLiteConverter':
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    with tfmot.quantization.keras.quantize_scope():
      converter = base.build_converter(fine_tuning.rebuild(model, 1))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter


def _set_ranges(wrapped: 'tf.keras.Model', model: 'tf.keras.Model', examples: parity.Examples) -> None:
  """Starts the ranges of what layers give at what is measured.

  They begin at [-6, 6], and the moving average over the batches of a few epochs would not bring them to where they
  belong.
  """
  measured = measure_ranges(model, examples.features)
  for layer in wrapped.layers:
    if layer.name not in measured:
      continue
    for variable in layer.weights:
      kind = variable.name.partition(':')[0].rpartition('/')[2]
      if kind in _LEAST:
        variable.assign(min(measured[layer.name][0], 0.0))
      elif kind in _LARGEST:
        variable.assign(max(measured[layer.name][1], 0.0))


def measure_ranges(model: 'tf.keras.Model', features: np.ndarray) -> dict[str, tuple[float, float]]:
  """Returns the least and the largest value that each layer gives; no more than one batch is in memory.

  Args:
    model: The model, for batches of any size.
    features: `[n, ...]`, what it is called with.
  """
  import tensorflow as tf

  watched = tf.keras.Model(model.input, [layer.output for layer in model.layers])
  ranges = np.tile([np.inf, -np.inf], (len(model.layers), 1))
  for start in range(0, len(features), fine_tuning.BATCH_SIZE):
    batch = features[start : start + fine_tuning.BATCH_SIZE].astype(model.input.dtype.as_numpy_dtype)
    outputs = watched.predict_on_batch(batch)
    found = np.array([(np.min(each), np.max(each)) for each in outputs])
    ranges = np.column_stack([np.minimum(ranges[:, 0], found[:, 0]), np.maximum(ranges[:, 1], found[:, 1])])
  return {
    layer.name: (float(least), float(largest)) for layer, (least, largest) in zip(model.layers, ranges, strict=True)
  }
