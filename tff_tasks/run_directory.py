"""The run directory: what a run writes, and whether the run that is asked for is the one that is there."""

from collections.abc import Iterator
import contextlib
import fcntl
import json
import math
import os
from typing import Any

from export import run_directory as reading
from models import released
from pipelines import client_shards
from pipelines import files

CONFIG_NAME = reading.CONFIG_NAME
_DATA = reading.DATA
# Flags that do not change what comes out, to the last bit: the same noise must never meet another sum. What to do about
# a client's error decides whether a round counts, not what comes out of it, and a run that it stopped has to go on.
_FREE = ('--output_dir', '--shards_dir', '--rounds_per_checkpoint', '--on_client_error')


@contextlib.contextmanager
def hold(path: str) -> Iterator[None]:
  """Makes the directory and keeps other trainers out of it.

  Raises:
    ValueError: If it cannot be written, then or later, or another trainer is at work in it.
  """
  try:
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, '.lock'), 'w', encoding='utf-8') as lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError as error:
        raise ValueError(
            f'Expected no other trainer at work in {path}, found one: wait for it, or choose another --output_dir.'
        ) from error
      yield
  except OSError as error:
    raise ValueError(
        f'Expected a run directory that can be written at {path}, found: {error.strerror}; mend that and repeat the '
        'command, or choose another --output_dir.'
    ) from error


def claim(path: str, flagfile: str, shards: client_shards.ClientShards, last_round: int | None) -> None:
  """Writes the flags of the run into its directory, or checks that they are those of the run that began there.

  Args:
    path: The run directory.
    flagfile: The flags, one a line.
    shards: The data.
    last_round: The round of the last checkpoint; from the first one on, the flags and the data of a run are fixed.

  Raises:
    ValueError: If it holds another run, or one that has lost its checkpoints.
  """
  config = f'{flagfile}{_DATA}{shards.fingerprint}\n'
  config_path = os.path.join(path, CONFIG_NAME)
  if last_round is not None and os.path.exists(config_path):
    with open(config_path, encoding='utf-8') as file:
      _check_same_run(path, _essential(file.read()), _essential(config))
  _check_not_released(path, last_round)
  files.write_atomically(config_path, config)


def _check_not_released(path: str, last_round: int | None) -> None:
  """Refuses to run a round again whose model is out.

  Its noise would be the same, and the sum perhaps another: of clients whose data was mended, or are left out now. The
  difference of the two models would have no noise at all.
  """
  if not os.path.exists(os.path.join(path, released.FILE_NAME)):
    return
  if last_round is None:
    raise ValueError(
        f'Expected the checkpoints of the run whose model is in {path}, found none: its privacy is spent and its noise '
        'unknown; choose another --output_dir.'
    )
  try:
    released_round = released.load(path).round_number
  except ValueError:
    return  # A damaged one says no round, and resuming is what mends it.
  if released_round > last_round:
    raise ValueError(
        f'Expected the checkpoint of round {released_round} in {path}, whose model is out, found that of round '
        f'{last_round}: with the same noise on other sums its privacy would be lost; choose another --output_dir, or '
        f'delete {released.FILE_NAME} if nobody has seen it.'
    )


def is_complete(path: str) -> bool:
  """Returns whether everything that a finished run leaves for others is there."""
  names = ('metrics.csv', 'privacy.json', 'run.json', released.FILE_NAME, 'report.html')
  return all(os.path.exists(os.path.join(path, name)) for name in names)


def write_json(path: str, name: str, value: dict[str, Any]) -> None:
  """Writes one of the JSON files of a run; a figure that is no finite number, which JSON has no word for, is null."""
  written = {key: None if isinstance(item, float) and not math.isfinite(item) else item for key, item in value.items()}
  files.write_atomically(os.path.join(path, name), json.dumps(written, indent=1, allow_nan=False) + '\n')


def _essential(config: str) -> set[str]:
  return {line for line in config.splitlines() if line and line.split('=')[0] not in _FREE}


def _check_same_run(path: str, found: set[str], expected: set[str]) -> None:
  differing = sorted(expected ^ found)
  if any(line.startswith(_DATA) for line in differing):
    raise ValueError(
        f'Expected the data that the run in {path} began with, found other shards: choose another --output_dir.'
    )
  if differing:
    name = differing[0].split('=')[0]
    asked, stood = (_value(lines, name) for lines in (expected, found))
    raise ValueError(
        f'Expected the flags of the run in {path} ({stood}), found {asked}: choose another --output_dir to start a new '
        'run, or the same flags to resume this one.'
    )


def _value(lines: set[str], name: str) -> str:
  return next((line for line in sorted(lines) if line.split('=')[0] == name), f'no {name}')
