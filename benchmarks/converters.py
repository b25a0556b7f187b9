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

from benchmarks import other_converters
from common import cli
from export import calibration
from export import guard
from export import parity
from export import source
from export import tflite
from export import timing

_RUN_DIR = flags.DEFINE_string('run_dir', None, 'Run directory of tff_tasks.train.', required=True)
_PUBLIC_DATA = flags.DEFINE_string('public_data', None, 'Shards to learn ranges from; no file that does if unset.')

_LIMITS = guard.Limits(seconds=600)
_MAX_CALIBRATION = 500


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
  shards = source.open_shards(run_dir, None)
  learned = calibration.open_data(_PUBLIC_DATA.value, None, False, shards)
  calibrated, examples = learned and learned.read(_MAX_CALIBRATION), parity.held_out_examples(shards)
  expected = guard.call(_LIMITS, parity.keras_answers, run_dir, shards.schema, examples.features)
  kinds = ['float32', 'dynamic range', *(['int8'] if calibrated else [])]

  def show(title: str, function: Callable[..., Any], *arguments: Any) -> None:
    first = shards.schema.first_answer
    print(describe(title, lambda: guard.call(_LIMITS, function, *arguments), examples, expected, first), flush=True)

  print('| file | kB | same answer as Keras | accuracy | us a call | s to make |')
  print('|---|---:|---:|---:|---:|---:|')
  features = calibrated and calibrated.features
  for kind in kinds:
    show(f'by hand, {kind}', other_converters.convert_by_hand, run_dir, kind, features)
  for kind in kinds:
    name = kind.replace(' ', '_')
    show(f'export, `{name}`', tflite.convert, run_dir, name, None, calibrated)
  if importlib.util.find_spec('ai_edge_quantizer'):
    content = guard.call(_LIMITS, tflite.convert, run_dir, 'float32')
    for kind in kinds[1:]:
      for ranges in ('moving average', 'min/max') if kind == 'int8' else ('',):
        title = ', '.join(filter(None, [kind, ranges]))
        show(f'ai-edge-quantizer, {title}', other_converters.convert_by_quantizer, content, title, features)


if __name__ == '__main__':
  cli.run(main)
