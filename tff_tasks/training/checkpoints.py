"""The program state on disk: written whole or not at all, checked when read, never to be published.

A checkpoint holds the seed of the run, and so the noise. One file a checkpoint: a SHA-256 of the rest, then an npz.
"""

import glob
import hashlib
import io
import json
import os
import re

import numpy as np
import tensorflow as tf

from common import files
from contracts import formats
from tff_tasks.population import seeds
from tff_tasks.training import history as history_lib
from tff_tasks.training import metrics
from tff_tasks.training import program_state

_NAME = re.compile(r'round_(\d{6,})\.ckpt')
# The last one, and one to go back to should the last be damaged.
_KEPT = 2


class Checkpoints:
  """The checkpoints of one run.

  Args:
    folder: Where they are; made if missing.
  """

  def __init__(self, folder: str) -> None:
    self._folder = folder
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o700)
    # What a killed process was writing holds the seed like the rest.
    for part in glob.glob(os.path.join(glob.escape(folder), '*.part')):
      os.remove(part)

  def save(self, saved: program_state.ProgramState) -> None:
    """Writes a checkpoint and removes the ones that it replaces; it is on the disk when this returns."""
    header = {
      formats.KEY: formats.CHECKPOINT,
      'round': saved.round_number,
      'settled': dict(saved.settled),
      'history': saved.history.to_json(),
      'classes': saved.rows.classes,
      'is_reconstructed': saved.rows.is_reconstructed,
    }
    arrays = {f'leaf_{index:04d}': leaf for index, leaf in enumerate(tf.nest.flatten(saved.state))}
    buffer = io.BytesIO()
    np.savez(
      buffer,
      header=np.array(json.dumps(header)),
      seed=np.frombuffer(saved.seed.secret, np.uint8),
      rows=saved.rows.to_array(),
      **arrays,
    )
    content = buffer.getvalue()
    path = os.path.join(self._folder, f'round_{saved.round_number:06d}.ckpt')
    files.write_atomically(path, hashlib.sha256(content).digest() + content)
    for name in _names(self._folder)[:-_KEPT]:
      os.remove(os.path.join(self._folder, name))

  def oldest(self) -> int:
    """Returns the oldest round that there is a checkpoint of; 0 without one."""
    return min(map(_round_of, _names(self._folder)), default=0)


def load_last(folder: str) -> program_state.ProgramState | None:
  """Returns the latest checkpoint in a folder, its state a flat list, or None if there is none.

  Raises:
    ValueError: If the latest checkpoint is damaged, of an older format, or not of the round that its name says.
  """
  names = _names(folder)
  if not names:
    return None
  path = os.path.join(folder, names[-1])
  with open(path, 'rb') as file:
    digest, content = file.read(hashlib.sha256().digest_size), file.read()
  if hashlib.sha256(content).digest() != digest:
    raise ValueError(f'Expected a whole checkpoint at {path}, found a damaged one: {_remedy(names)}.')
  with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
    header = json.loads(str(arrays['header'])) if 'header' in arrays else {}
    if header.get(formats.KEY) == formats.CHECKPOINT_WITH_XLA:
      use_xla = header.pop('use_xla')
      header |= {formats.KEY: formats.CHECKPOINT, 'settled': {} if use_xla is None else {'use_xla': use_xla}}
    if header.get(formats.KEY) != formats.CHECKPOINT:
      raise ValueError(
        f'Expected a checkpoint of format {formats.CHECKPOINT} at {path}, found one of format '
        f'{header.get(formats.KEY, 1)}: finish that run with the version of this program that began it, or choose '
        'another --output_dir.'
      )
    if header['round'] != _round_of(names[-1]):
      raise ValueError(
        f'Expected the checkpoint of round {_round_of(names[-1])} at {path}, found that of round {header["round"]}: '
        f'rename it to {_name(header["round"])} if it was renamed; if not, {_remedy(names)}.'
      )
    leaves = [arrays[name] for name in sorted(arrays) if name.startswith('leaf_')]
    return program_state.ProgramState(
      header['round'],
      seeds.Seed(arrays['seed'].tobytes()),
      header['settled'],
      leaves,
      history_lib.History.from_json(header['history']),
      metrics.Rows.from_array(arrays['rows'], header.get('classes', ()), header.get('is_reconstructed', False)),
    )


def _remedy(names: list[str]) -> str:
  if len(names) == 1:
    return 'choose another --output_dir'
  return (
    f'delete it to go on from {names[-2]}; rounds whose models are out are then run again with fresh noise and '
    'count twice'
  )


def _names(folder: str) -> list[str]:
  names = os.listdir(folder) if os.path.isdir(folder) else []
  return sorted(filter(_NAME.fullmatch, names), key=_round_of)


def _name(round_number: int) -> str:
  return f'round_{round_number:06d}.ckpt'


def _round_of(name: str) -> int:
  return int(name.removeprefix('round_').removesuffix('.ckpt'))
