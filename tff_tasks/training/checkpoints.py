"""The program state on disk: written whole or not at all, checked when read, never to be published.

A checkpoint holds the seed of the run, and so the noise. One file a checkpoint: a SHA-256 of the rest, then an npz.
"""

import collections
import dataclasses
import glob
import hashlib
import io
import json
import os
import re
from typing import Any

import numpy as np
import tensorflow as tf

from common import files
from tff_tasks.population import seeds
from tff_tasks.training import history as history_lib
from tff_tasks.training import metrics

# Grows when a reader of the older form would misread the new one. The first had no number.
FORMAT = 4
_NAME = re.compile(r'round_(\d{6,})\.ckpt')
# The last one, and one to go back to should the last be damaged.
_KEPT = 2


@dataclasses.dataclass(frozen=True)
class ProgramState:
  """Everything that the next round depends on, and what became of the rounds before.

  Attributes:
    round_number: The last finished round.
    seed: The seed of the run.
    use_xla: Whether XLA compiles the clients' work, which decides the last bits; None where that is not chosen yet.
    state: The state of the learning process, a nested structure of NumPy arrays; a flat list of them when just loaded.
    history: What the run is, and what it has released.
    rows: The figures of all rounds.
  """

  round_number: int
  seed: seeds.Seed
  use_xla: bool | None
  state: Any
  history: history_lib.History
  rows: metrics.Rows

  def shaped_like(self, state: Any) -> 'ProgramState':
    """Returns what was loaded, with its state in the structure of another state of the same learning process.

    Raises:
      ValueError: If it is of another learning process.
    """
    if _types(tf.nest.flatten(state)) != _types(self.state):
      raise ValueError(
        'Expected a checkpoint of this model and optimizer, found one of another: choose another --output_dir.'
      )
    return dataclasses.replace(self, state=tf.nest.pack_sequence_as(state, self.state))

  def branched(self, initial: Any) -> 'ProgramState':
    """Returns what was loaded as the beginning of another run, of which only the weights are taken.

    The state of the server's optimizer is not: it holds the learning rate, and that of Adam looks like that of Yogi.

    Args:
      initial: The initial state of the learning process of the other run.

    Raises:
      ValueError: If the weights are of another model.
    """
    weights = tf.nest.flatten(initial.global_model_weights)
    if _types(weights) != _types(self.state[: len(weights)]):
      raise ValueError(
        'Expected a run of this model to branch from, found one of another: leave --branch_from out to start anew.'
      )
    taken = tf.nest.pack_sequence_as(initial.global_model_weights, self.state[: len(weights)])
    return self._with_secret_of(initial, initial._replace(global_model_weights=taken))

  def restarted(self, initial: Any) -> 'ProgramState':
    """Returns what was loaded as the beginning of rounds of the same run with another secret.

    Args:
      initial: The initial state of the learning process with that secret.

    Raises:
      ValueError: If what was loaded is of another learning process.
    """
    return self._with_secret_of(initial, self.shaped_like(initial).state)

  def _with_secret_of(self, initial: Any, state: Any) -> 'ProgramState':
    # What is drawn from the secret is in the state of the aggregator. Rounds are counted on.
    aggregator = collections.OrderedDict(initial.aggregator, round=np.int32(self.round_number))
    return dataclasses.replace(self, state=state._replace(aggregator=aggregator))


def _types(leaves: Any) -> list[tuple[tuple[int, ...], np.dtype]]:
  return [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]


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

  def save(self, program_state: ProgramState) -> None:
    """Writes a checkpoint and removes the ones that it replaces; it is on the disk when this returns."""
    header = {
      'format': FORMAT,
      'round': program_state.round_number,
      'use_xla': program_state.use_xla,
      'history': program_state.history.to_json(),
      'classes': program_state.rows.classes,
      'is_reconstructed': program_state.rows.is_reconstructed,
    }
    arrays = {f'leaf_{index:04d}': leaf for index, leaf in enumerate(tf.nest.flatten(program_state.state))}
    buffer = io.BytesIO()
    np.savez(
      buffer,
      header=np.array(json.dumps(header)),
      seed=np.frombuffer(program_state.seed.secret, np.uint8),
      rows=program_state.rows.to_array(),
      **arrays,
    )
    content = buffer.getvalue()
    path = os.path.join(self._folder, f'round_{program_state.round_number:06d}.ckpt')
    files.write_atomically(path, hashlib.sha256(content).digest() + content)
    for name in _names(self._folder)[:-_KEPT]:
      os.remove(os.path.join(self._folder, name))

  def oldest(self) -> int:
    """Returns the oldest round that there is a checkpoint of; 0 without one."""
    return min(map(_round_of, _names(self._folder)), default=0)


def load_last(folder: str) -> ProgramState | None:
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
    if header.get('format') != FORMAT:
      raise ValueError(
        f'Expected a checkpoint of format {FORMAT} at {path}, found one of format {header.get("format", 1)}: finish '
        'that run with the version of this program that began it, or choose another --output_dir.'
      )
    if header['round'] != _round_of(names[-1]):
      raise ValueError(
        f'Expected the checkpoint of round {_round_of(names[-1])} at {path}, found that of round {header["round"]}: '
        f'rename it to {_name(header["round"])} if it was renamed; if not, {_remedy(names)}.'
      )
    leaves = [arrays[name] for name in sorted(arrays) if name.startswith('leaf_')]
    return ProgramState(
      header['round'],
      seeds.Seed(arrays['seed'].tobytes()),
      header['use_xla'],
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
