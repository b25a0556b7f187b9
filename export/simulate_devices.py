"""Repeats rounds of a run with devices as its clients, and compares the model with the one that the run released.

  python -m export.simulate_devices --run_dir=runs/quickstart/run --model_dir=runs/quickstart/model

Each client takes its local steps with the training file of the model folder, in LiteRT, in a process without
TensorFlow. What it sends goes the way of the run: clip, codec, sum, noise. Nothing is written. A model that is farther
away than rounding explains ends the program with an error.
"""

import contextlib
import os
import sys

from absl import flags

from common import cli
from common import files
from contracts import released_model
from contracts import run_directory
from export import guard
from export import source
from export.simulation import comparison
from tff_tasks.runtime import start_up

_RUN_DIR = flags.DEFINE_string('run_dir', None, 'Run directory of tff_tasks.train, with its checkpoint.', required=True)
_MODEL_DIR = flags.DEFINE_string(
  'model_dir', None, 'Model folder that export.to_tflite made of this run, with a training file.', required=True
)
_SHARDS_DIR = flags.DEFINE_string(
  'shards_dir', None, 'Data set that the run was trained on; by default where it was then.'
)
_TOTAL_ROUNDS = flags.DEFINE_integer(
  'total_rounds', None, 'How many rounds to repeat, from the first on; by default those of the run.', lower_bound=1
)
_DEVICES = flags.DEFINE_integer(
  'devices',
  None,
  'Device processes at a time, each of which is one client after the other; by default one a core.',
  lower_bound=1,
)
_TASK = flags.DEFINE_string(
  'task', None, 'Task of your own as package.module:attribute, if the run was trained with one: its code is run.'
)


def main() -> None:
  """Simulates the rounds and prints how far the model is from the one of the run."""
  released = released_model.load(_RUN_DIR.value)
  released_model.check_task(released, _TASK.value, _RUN_DIR.value)
  path = _find_file(released)
  shards = source.open_shards(_RUN_DIR.value, _SHARDS_DIR.value)
  with cli.large_imports():
    start_up.start_tensorflow()
    from export.simulation import rounds as rounds_lib
  saved, config = rounds_lib.load(_RUN_DIR.value)
  rounds = _TOTAL_ROUNDS.value or released.round_number
  if rounds > saved.round_number:
    raise ValueError(
      f'Expected --total_rounds of at most {saved.round_number}, which the run has had, found {rounds}: lower it.'
    )
  if rounds != released.round_number:
    print(f'Nothing to compare with: the run released the model of round {released.round_number}, not of {rounds}.')
  num_devices = _DEVICES.value or len(os.sched_getaffinity(0))
  try:
    with contextlib.closing(rounds_lib.Simulation(saved, config, shards, path, num_devices)) as simulated:
      result = simulated.run(rounds, sys.stdout)
    speed = result.clients / result.seconds if result.seconds else 0.0
    print(
      f'{rounds} rounds with {result.clients:,} clients on {num_devices} devices took {result.seconds:.1f} s, '
      f'{speed:,.1f} clients a second.'
    )
    if released.round_number == rounds:
      _compare(comparison.compare(result.weights, released.weights, result.initial, result.is_rounded))
  except guard.Failed as error:
    sys.exit(f'error: {error}')


def _compare(found: comparison.Comparison) -> None:
  """Prints how far the model is from the released one.

  Raises:
    guard.Failed: If that is more than rounding.
  """
  print(
    f'Largest difference to the released model: {found.largest:.2g}, of weights that moved by up to {found.moved:.2g}.'
  )
  if not found.is_close:
    raise guard.Failed(
      f'Expected a model whose distance to the released one is at most {found.allowed:.2g} of how far that moved, '
      f'found {found.share:.2g}: devices took other steps than clients of the run; train a new run with this version '
      'and export it.'
    )


def _find_file(released: released_model.ReleasedModel) -> str:
  """Returns the training file of the model folder.

  Raises:
    ValueError: If there is none, or it is of another model.
  """
  record = run_directory.read_parity(_MODEL_DIR.value)
  if not record:
    raise ValueError(f'Expected an export at {_MODEL_DIR.value}, found none: name a model folder of export.to_tflite.')
  entries = [each for each in record['variants'].values() if each.get('form') == 'train']
  if not entries:
    raise ValueError(
      f'Expected a training file in {_MODEL_DIR.value}, found none: export with --variants=float32,dynamic_range,train.'
    )
  if record.get('model') != released.digest:
    raise ValueError(
      f'Expected an export of the model that {_RUN_DIR.value} released last, found one of another model in '
      f'{_MODEL_DIR.value}: export that run again.'
    )
  path = os.path.join(_MODEL_DIR.value, entries[0]['path'])
  if not os.path.exists(path) or files.describe(path)['sha256'] != entries[0]['sha256']:
    raise ValueError(f'Expected {path} as it was exported, found none or another file: export again.')
  return path


if __name__ == '__main__':
  cli.run(main)
