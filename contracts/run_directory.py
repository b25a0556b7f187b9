"""The run directory: where its files are, and the figures in it as others read them.

A run that was stopped has not written all of them yet: what is missing reads as empty, what is damaged is an error.
"""

from collections.abc import Callable
import csv
import json
import math
import os
import re
from typing import Any, TypeVar

from common import sealed_json
from contracts import formats

_Number = TypeVar('_Number', int, float)
_WITHHELD = re.compile('seed|secret|password', re.IGNORECASE)
WITHHELD = '(withheld)'
CONFIG_NAME = 'config.flags'
# What the guarantee covers; exact figures, for the operator; what undoes the guarantee (mode 0700).
PUBLIC, OPERATOR, SECRET = 'public', 'operator', 'secret'
FIGURES = f'{OPERATOR}/run.json'
METRICS = f'{OPERATOR}/metrics.csv'
EVENTS = f'{OPERATOR}/tensorboard'
REPORT = f'{OPERATOR}/report.html'
# Figures of single held-out users.
PERSONALIZATION = f'{OPERATOR}/personalization.csv'
MODEL = f'{PUBLIC}/model.npz'
LEDGER = f'{PUBLIC}/privacy.json'
CHECKPOINTS = f'{SECRET}/checkpoints'
CLIENT_STATE = f'{SECRET}/client_state.db'
# What an earlier version called figures of a run.
_FORMER = {'left_out_clients': 'skipped_clients'}
# What run.json and evaluations have beside the metrics of a task, which may not be called so.
FIGURE_NAMES = frozenset(
  (
    *('accuracy', 'accuracy_per_user', 'algorithm', 'baseline', 'baseline_accuracy', 'bigram_accuracy'),
    *('bigram_clients', 'clients', 'clients_by_class', 'clients_per_round', 'clip_norm', 'compression', 'coverage'),
    *('data_set', 'delta', 'empty_rounds', 'epsilon', 'eval_baseline_accuracy', 'eval_split', 'examples', 'loss'),
    *('majority_accuracy', 'majority_class', 'model', 'personalization', 'population', 'quantization_bits', 'round'),
    *('rounds', 'runtime', 'seconds', 'skipped_clients', 'split', 'tail_accuracy', 'task', 'total_rounds'),
    *('training_epsilon', 'weights', sealed_json.CHECKSUM, formats.KEY, *_FORMER),
  )
)
# Where an earlier version had the model and the checkpoints.
_EARLIER = ('model.npz', 'checkpoints')
# What stands before the fingerprint of the data in the flag file.
DATA = '# data: '
PARITY = 'parity.json'
_FORMATS = {FIGURES: formats.FIGURES, LEDGER: formats.LEDGER}

_FLOAT = (float, int)
_VARIANT = {
  'path': str,
  'bytes': int,
  'sha256': str,
  'summary': str,
  'argmax_agreement': _FLOAT,
  'max_logit_difference': _FLOAT,
  'accuracy': _FLOAT,
  'examples': int,
  'positions': int,
  'stored?': {str: int},
  'form?': str,
  'compressed_bytes?': int,
  'quantized?': {str: {'dtype': str, 'scale': _FLOAT, 'zero_point': int}},
  # In an app's calls, one thread: of a call, in microseconds, and what the file adds to the process, in MB.
  'latency_us?': {'median': _FLOAT, 'p95': _FLOAT, 'calls': int},
  'peak_memory_mb?': _FLOAT,
  # Of some steps of training on the device's runtime, against those of Keras; a share of the largest change.
  'training?': {'steps': int, 'relative_weight_difference': _FLOAT},
}
_PARITY = {
  f'{formats.KEY}?': int,
  'source': str,
  'model?': str,
  'task': str,
  'variants': {str: _VARIANT},
  'failed': {str: str},
  'skipped?': {str: str},
  'dropped?': {str: str},
  'calibration?': {'kind': str, 'folder': str, 'fingerprint': str, 'examples': {str: int}, 'statement': str},
  'choice?': str,
  'published_figures?': str,
  'keras_accuracy': _FLOAT,
  'majority_accuracy?': _FLOAT,
  'examples': int,
  'positions': int,
  'seconds': _FLOAT,
}
# What stands before the id of the run in it.
RUN = '# run: '


def make(run_dir: str) -> None:
  """Makes a run directory with its folders, as far as they are missing.

  Raises:
    ValueError: If it is a run directory of an earlier version.
    OSError: If it cannot be made.
  """
  check_version(run_dir)
  for name in (PUBLIC, OPERATOR, SECRET):
    os.makedirs(os.path.join(run_dir, name), exist_ok=True)
  os.chmod(os.path.join(run_dir, SECRET), 0o700)


def check_version(run_dir: str) -> None:
  """Refuses a run directory of an earlier version, whose files are elsewhere.

  Raises:
    ValueError: If it is one.
  """
  if any(os.path.exists(os.path.join(run_dir, name)) for name in _EARLIER):
    raise ValueError(
      f'Expected a run directory with folders {PUBLIC}, {OPERATOR} and {SECRET} at {run_dir}, found one of an '
      'earlier version of this program: train again in another --output_dir.'
    )


def read_flag_lines(run_dir: str) -> list[str]:
  """Returns the run's flags as lines of a flag file, such as `--clip_norm=0.3` and `--nocentered`.

  A seed is withheld: whoever knows it can subtract the noise, and with it the privacy.

  Raises:
    ValueError: If the file is not text.
  """
  path = os.path.join(run_dir, CONFIG_NAME)
  try:
    with open(path, encoding='utf-8') as file:
      lines = [line.strip().lstrip('-') for line in file if line.strip().startswith('-')]
  except FileNotFoundError:
    return []
  except UnicodeDecodeError as error:
    raise ValueError(
      f'Expected a flag file at {path}, found other bytes ({error}): repeat the training command, which writes it '
      'again.'
    ) from error
  parts = [line.partition('=') for line in lines]
  return [f'--{name}={WITHHELD}' if _WITHHELD.search(name) else f'--{name}{sign}{value}' for name, sign, value in parts]


def read_flags(run_dir: str) -> list[tuple[str, str]]:
  """Returns the run's flags as (name, value); a switch stands as `name` or `noname`, with an empty value.

  Raises:
    ValueError: If the file is not text.
  """
  parts = (line.removeprefix('--').partition('=') for line in read_flag_lines(run_dir))
  return [(name, value) for name, _, value in parts]


def read_flag(run_dir: str, name: str) -> str | None:
  """Returns the value of one flag of the run, or `None` if it was not set."""
  return dict(read_flags(run_dir)).get(name)


def read_number(run_dir: str, name: str, parse: Callable[[str], _Number]) -> _Number:
  """Returns the value of one flag of the run as a number.

  Raises:
    ValueError: If it is missing, or no number.
  """
  value = read_flag(run_dir, name)
  try:
    return parse(value or '')
  except ValueError as error:
    raise ValueError(
      f'Expected --{name} in {os.path.join(run_dir, CONFIG_NAME)}, found {value or "none"}: repeat the training '
      'command, which writes it again.'
    ) from error


def read_data(run_dir: str) -> str | None:
  """Returns the fingerprint of the data set that the run was trained on, or `None` if it left none."""
  return _read_note(run_dir, DATA)


def read_run(run_dir: str) -> str | None:
  """Returns the id of the run, or `None` if it left none."""
  return _read_note(run_dir, RUN)


def _read_note(run_dir: str, mark: str) -> str | None:
  """Returns what stands behind a mark in the flag file."""
  path = os.path.join(run_dir, CONFIG_NAME)
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8', errors='replace') as file:
    notes = [line.removeprefix(mark).strip() for line in file if line.startswith(mark)]
  return notes[0] if notes else None


def read_json(folder: str, file_name: str) -> dict[str, Any]:
  """Returns the object in one of the JSON files of a run, empty if there is no such file.

  Args:
    folder: The run directory.
    file_name: `FIGURES` or `LEDGER`.

  Raises:
    ValueError: If the file holds something else, or is of another format.
  """
  path = os.path.join(folder, file_name)
  try:
    with open(path, encoding='utf-8') as file:
      value = json.loads(text := file.read())
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise _damaged_json(path, f'none ({error})') from error
  if not isinstance(value, dict):
    raise _damaged_json(path, f'a {type(value).__name__}')
  if sealed_json.CHECKSUM not in value:
    return value
  try:
    value = sealed_json.loads(text.encode(), {})
    formats.check(value, _FORMATS[file_name])
    return value
  except ValueError as error:
    raise _damaged_json(path, str(error)) from error


def read_parity(model_dir: str) -> dict[str, Any]:
  """Returns what an export says of its files, empty if there was none.

  Raises:
    ValueError: If the file is not what the export wrote.
  """
  path = os.path.join(model_dir, PARITY)
  try:
    with open(path, 'rb') as file:
      record = sealed_json.loads(file.read(), {})
    formats.check(record, formats.PARITY)
    sealed_json.check(record, _PARITY)
    return record
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise ValueError(f'Expected the {path} of an export, found {error}: delete it and export again.') from error


def _damaged_json(path: str, found: str) -> ValueError:
  return ValueError(f'Expected a whole JSON object in {path}, found {found}: repeat the command that wrote it.')


def read_figures(run_dir: str) -> dict[str, Any]:
  """Returns run.json, the final figures; empty if the model in the directory is not the one that they were measured on.

  Raises:
    ValueError: If the file is damaged.
  """
  figures, ledger = (read_json(run_dir, name) for name in (FIGURES, LEDGER))
  figures = {_FORMER.get(name, name): value for name, value in figures.items()}
  return figures if figures.get('model') == ledger.get('model') else {}


def read_metrics(run_dir: str) -> dict[str, list[float]]:
  """Returns the columns of metrics.csv, NaN where a round did not measure; no columns if there is no file.

  Raises:
    ValueError: If the file holds something else.
  """
  path = os.path.join(run_dir, METRICS)
  try:
    with open(path, encoding='utf-8', newline='') as file:
      names, *rows = csv.reader(file)
    table = [[_number(cell) for _, cell in zip(names, row, strict=True)] for row in rows]
    return {_FORMER.get(name, name): [row[column] for row in table] for column, name in enumerate(names)}
  except FileNotFoundError:
    return {}
  except (ValueError, csv.Error) as error:
    raise ValueError(
      f'Expected numbers in {path}, found others ({error}): repeat the training command, which writes it again.'
    ) from error


def _number(cell: str) -> float:
  value = float(cell or 'nan')
  return value if math.isfinite(value) else math.nan
