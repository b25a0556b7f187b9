"""Files of a released model, made by hand, by ai-edge-quantizer and by an export, checked and timed in the same way.

  python -m benchmarks.converters --run_dir=RUN --public_data=OTHER_SHARDS

By hand is what TensorFlow's guide shows: `TFLiteConverter.from_keras_model` and its flags. ai-edge-quantizer takes the
float32 file of the export; it is a side where it can be imported: `pip install --no-deps --target DIR
ai-edge-quantizer==0.10.0 immutabledict` and `PYTHONPATH=DIR`. Files that learn ranges do so from the same examples.
"""

from collections.abc import Callable
import importlib.util
import os
import tempfile
import time
from typing import Any

from absl import flags
import numpy as np

from common import cli
from contracts import client_shards
from contracts import released_model
from contracts import run_directory
from export import calibration
from export import guard
from export import parity
from export import tflite
from export import timing

_RUN_DIR = flags.DEFINE_string('run_dir', None, 'Run directory of tff_tasks.train.', required=True)
_PUBLIC_DATA = flags.DEFINE_string('public_data', None, 'Shards to learn ranges from.', required=True)

_LIMITS = guard.Limits(seconds=600)
_MAX_CALIBRATION = 500


def convert_by_hand(run_dir: str, kind: str, features: np.ndarray) -> bytes:
  """Returns a file as TensorFlow's guide makes it; run in a child process.

  Args:
    run_dir: The run directory.
    kind: `float32`, `dynamic range` or `int8`.
    features: To learn ranges from, `[n, ...]`.
  """
  import tensorflow as tf

  from models import registry

  model = registry.rebuild(released_model.load(run_dir))
  converter = tf.lite.TFLiteConverter.from_keras_model(model)
  if kind != 'float32':
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if kind == 'int8':
    inputs = features.astype(model.input.dtype.as_numpy_dtype)
    converter.representative_dataset = lambda: ([each[np.newaxis]] for each in inputs)
  return converter.convert()


def convert_by_quantizer(content: bytes, kind: str, features: np.ndarray) -> bytes:
  """Returns a file of ai-edge-quantizer; run in a child process.

  Args:
    content: The float32 file.
    kind: `dynamic range`, or `int8` with `moving average` or `min/max` ranges.
    features: To learn ranges from, `[n, ...]`.
  """
  import numpy.typing  # noqa: F401 - the quantizer expects it to be imported.

  # isort: split
  from ai_edge_litert import interpreter as litert
  from ai_edge_quantizer import calibrator
  from ai_edge_quantizer import quantizer
  from ai_edge_quantizer import recipe
  from ai_edge_quantizer.utils import qsv_utils

  made = quantizer.Quantizer(
    content, recipe.dynamic_wi8_afp32() if kind == 'dynamic range' else recipe.static_wi8_ai8()
  )
  if kind == 'dynamic range':
    return bytes(made.quantize().quantized_model)
  (given,) = litert.Interpreter(model_content=content).get_signature_runner().get_input_details().items()
  examples = [{given[0]: each[np.newaxis].astype(given[1]['dtype'])} for each in features]
  if kind == 'int8, moving average':
    ranges = made.calibrate({'serving_default': examples}, num_threads=1)
  else:
    calibrating = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    calibrating.calibrate({'serving_default': examples}, recipe.static_wi8_ai8())
    ranges = calibrating.get_model_qsvs()
  return bytes(made.quantize(ranges).quantized_model)


def describe(
  title: str, convert: Callable[[], Any], examples: parity.Examples, expected: np.ndarray, first_answer: int
) -> str:
  """Returns a row of the table: a file is made, checked and timed, each in a process of its own."""
  started = time.monotonic()
  try:
    content = convert()
    if not isinstance(content, bytes):
      raise guard.Failed(str(content))
    seconds = time.monotonic() - started
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'file.tflite')
      with open(path, 'wb') as file:
        file.write(content)
      answers = guard.call(_LIMITS, parity.tflite_answers, path, examples.features)
      cost = guard.call(_LIMITS, timing.measure, path, examples.features[:200], 'whole')
  except guard.Failed as error:
    return f'| {title} | failed: {" ".join(str(error).split())[:120]} | | | | |'
  figures = parity.compare(examples.labels, answers.logits, expected, first_answer)
  cells = f'{len(content) / 1000:,.0f} | {figures.argmax_agreement:.2%} | {figures.accuracy:.2%}'
  return f'| {title} | {cells} | {cost.median:,.0f} | {seconds:.0f} |'


def main() -> None:
  """Prints the table, a row when it is known."""
  run_dir = _RUN_DIR.value
  shards = client_shards.ClientShards(run_directory.read_flag(run_dir, 'shards_dir') or '')
  learned = calibration.open_data(_PUBLIC_DATA.value, None, False, shards)
  if learned is None:
    raise ValueError('Expected --public_data, found none: give shards to learn ranges from.')
  calibrated, examples = learned.read(_MAX_CALIBRATION), parity.held_out_examples(shards)
  expected = guard.call(_LIMITS, parity.keras_answers, run_dir, shards.schema, examples.features)

  def show(title: str, function: Callable[..., Any], *arguments: Any) -> None:
    first = shards.schema.first_answer
    print(describe(title, lambda: guard.call(_LIMITS, function, *arguments), examples, expected, first), flush=True)

  print('| file | kB | same answer as Keras | accuracy | us a call | s to make |')
  print('|---|---:|---:|---:|---:|---:|')
  for kind in ('float32', 'dynamic range', 'int8'):
    show(f'by hand, {kind}', convert_by_hand, run_dir, kind, calibrated.features)
  for name in ('float32', 'dynamic_range', 'int8'):
    show(f'export, `{name}`', tflite.convert, run_dir, name, None, calibrated)
  if importlib.util.find_spec('ai_edge_quantizer'):
    content = guard.call(_LIMITS, tflite.convert, run_dir, 'float32')
    for kind in ('dynamic range', 'int8, moving average', 'int8, min/max'):
      show(f'ai-edge-quantizer, {kind}', convert_by_quantizer, content, kind, calibrated.features)


if __name__ == '__main__':
  cli.run(main)
