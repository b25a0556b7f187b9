"""The program state on disk: written whole or not at all, checked when read, never to be published.

A checkpoint holds the seed of the run, and so the noise. One file a checkpoint: a SHA-256 of the rest, then an npz.
"""

import dataclasses
import glob
import hashlib
import io
import os
import re
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import files
from tff_tasks import seeds

_NAME = re.compile(r'round_(\d{6,})\.ckpt')
# The last one, and one to go back to should the last be damaged.
_KEPT = 2


@dataclasses.dataclass(frozen=True)
class ProgramState:
  """Everything that the next round depends on.

  Attributes:
    round_number: The last finished round.
    seed: The seed of the run.
    use_xla: Whether XLA compiles the clients' work, which decides the last bits; None where that is not chosen yet.
    state: The state of the learning process, a nested structure of NumPy arrays; a flat list of them when just loaded.
  """

  round_number: int
  seed: seeds.Seed
  use_xla: bool | None
  state: Any

  def shaped_like(self, state: Any) -> 'ProgramState':
    """Returns what was loaded, with its state in the structure of another state of the same learning process.

    Raises:
      ValueError: If it is of another learning process.
    """
    expected = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in tf.nest.flatten(state)]
    if expected != [(leaf.shape, leaf.dtype) for leaf in self.state]:
      raise ValueError(
          'Expected a checkpoint of this model and optimizer, found one of another: choose another --output_dir.'
      )
    return dataclasses.replace(self, state=tf.nest.pack_sequence_as(state, self.state))


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
    """Writes a checkpoint and removes the ones that it replaces."""
    arrays = {f'leaf_{index:04d}': leaf for index, leaf in enumerate(tf.nest.flatten(program_state.state))}
    if program_state.use_xla is not None:
      arrays['use_xla'] = program_state.use_xla
    buffer = io.BytesIO()
    np.savez(buffer, seed=np.frombuffer(program_state.seed.secret, np.uint8), **arrays)
    content = buffer.getvalue()
    path = os.path.join(self._folder, f'round_{program_state.round_number:06d}.ckpt')
    files.write_atomically(path, hashlib.sha256(content).digest() + content)
    for name in self._names()[:-_KEPT]:
      os.remove(os.path.join(self._folder, name))

  def load(self) -> ProgramState | None:
    """Returns the latest checkpoint, its state a flat list, or None if there is none yet.

    Raises:
      ValueError: If the latest checkpoint is damaged.
    """
    if not self._names():
      return None
    path = os.path.join(self._folder, self._names()[-1])
    with open(path, 'rb') as file:
      digest, content = file.read(hashlib.sha256().digest_size), file.read()
    if hashlib.sha256(content).digest() != digest:
      remedy = 'delete it to resume from the one before' if len(self._names()) > 1 else 'choose another --output_dir'
      raise ValueError(f'Expected a whole checkpoint at {path}, found a damaged one: {remedy}.')
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
      leaves = [arrays[name] for name in sorted(arrays) if name.startswith('leaf_')]
      use_xla = bool(arrays['use_xla']) if 'use_xla' in arrays else None
      return ProgramState(_round_of(os.path.basename(path)), seeds.Seed(arrays['seed'].tobytes()), use_xla, leaves)

  def _names(self) -> list[str]:
    return sorted(filter(_NAME.fullmatch, os.listdir(self._folder)), key=_round_of)


def _round_of(name: str) -> int:
  return int(name.removeprefix('round_').removesuffix('.ckpt'))
