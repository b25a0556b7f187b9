"""How benchmarks.converters makes files without an export: by hand, and by ai-edge-quantizer."""

import importlib

import numpy as np

from contracts import released_model


def convert_by_hand(run_dir: str, kind: str, features: np.ndarray | None) -> bytes:
  """Returns a file as TensorFlow's guide makes it; run in a child process.

  Args:
    run_dir: The run directory.
    kind: `float32`, `dynamic range` or `int8`.
    features: To learn ranges from, `[n, ...]`; None if the kind learns none.
  """
  import tensorflow as tf

  from models import registry

  model = registry.rebuild(released_model.load(run_dir))
  converter = tf.lite.TFLiteConverter.from_keras_model(model)
  if kind != 'float32':
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if features is not None and kind == 'int8':
    inputs = features.astype(model.input.dtype.as_numpy_dtype)
    converter.representative_dataset = lambda: ([each[np.newaxis]] for each in inputs)
  return converter.convert()


def convert_by_quantizer(content: bytes, kind: str, features: np.ndarray | None) -> bytes:
  """Returns a file of ai-edge-quantizer; run in a child process.

  Args:
    content: The float32 file.
    kind: `dynamic range`, or `int8` with `moving average` or `min/max` ranges.
    features: To learn ranges from, `[n, ...]`; None if the kind learns none.
  """
  # It expects that somebody has imported it.
  importlib.import_module('numpy.typing')
  calibrator, quantizer, recipe, recipe_manager = (
    importlib.import_module(f'ai_edge_quantizer.{name}')
    for name in ('calibrator', 'quantizer', 'recipe', 'recipe_manager')
  )
  qsv_utils = importlib.import_module('ai_edge_quantizer.utils.qsv_utils')
  from ai_edge_litert import interpreter as litert

  made = quantizer.Quantizer(
    content, recipe.dynamic_wi8_afp32() if kind == 'dynamic range' else recipe.static_wi8_ai8()
  )
  if features is None or kind == 'dynamic range':
    return bytes(made.quantize().quantized_model)
  (given,) = litert.Interpreter(model_content=content).get_signature_runner().get_input_details().items()
  examples = [{given[0]: each[np.newaxis].astype(given[1]['dtype'])} for each in features]
  if kind == 'int8, moving average':
    ranges = made.calibrate({'serving_default': examples}, num_threads=1)
  else:
    calibrating = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(recipe.static_wi8_ai8())
    calibrating.calibrate({'serving_default': examples}, recipes)
    ranges = calibrating.get_model_qsvs()
  return bytes(made.quantize(ranges).quantized_model)
