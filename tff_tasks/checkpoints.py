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
    state: The state of the learning process, a nested structure of NumPy arrays.
  """

  round_number: int
  seed: seeds.Seed
  state: Any


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

  @property
  def last_round(self) -> int | None:
    """The last round that was saved, 0 being the initial model; None if there is none."""
    names = self._names()
    return _round_of(names[-1]) if names else None

  def save(self, program_state: ProgramState) -> None:
    """Writes a checkpoint and removes the ones that it replaces."""
    arrays = {f'leaf_{index:04d}': leaf for index, leaf in enumerate(tf.nest.flatten(program_state.state))}
    buffer = io.BytesIO()
    np.savez(buffer, seed=np.frombuffer(program_state.seed.secret, np.uint8), **arrays)
    content = buffer.getvalue()
    path = os.path.join(self._folder, f'round_{program_state.round_number:06d}.ckpt')
    files.write_atomically(path, hashlib.sha256(content).digest() + content)
    for name in self._names()[:-_KEPT]:
      os.remove(os.path.join(self._folder, name))

  def load_seed(self) -> seeds.Seed | None:
    """Returns the seed of the run, or None if there is no checkpoint yet."""
    arrays = self._load_latest()
    return seeds.Seed(arrays['seed'].tobytes()) if arrays else None

  def load(self, like: Any) -> ProgramState | None:
    """Returns the latest checkpoint, or None if there is none yet.

    Args:
      like: A state of the same learning process.

    Raises:
      ValueError: If the latest checkpoint is damaged, or of another learning process.
    """
    arrays = self._load_latest()
    if not arrays:
      return None
    leaves = [arrays[name] for name in sorted(arrays) if name != 'seed']
    expected = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in tf.nest.flatten(like)]
    if expected != [(leaf.shape, leaf.dtype) for leaf in leaves]:
      raise ValueError(
          f'Expected a checkpoint of this model and optimizer in {self._folder}, found one of another: choose another '
          '--output_dir.'
      )
    state = tf.nest.pack_sequence_as(like, leaves)
    return ProgramState(_round_of(self._names()[-1]), seeds.Seed(arrays['seed'].tobytes()), state)

  def _names(self) -> list[str]:
    return sorted(filter(_NAME.fullmatch, os.listdir(self._folder)), key=_round_of)

  def _load_latest(self) -> dict[str, np.ndarray] | None:
    if not self._names():
      return None
    path = os.path.join(self._folder, self._names()[-1])
    with open(path, 'rb') as file:
      digest, content = file.read(hashlib.sha256().digest_size), file.read()
    if hashlib.sha256(content).digest() != digest:
      remedy = 'delete it to resume from the one before' if len(self._names()) > 1 else 'choose another --output_dir'
      raise ValueError(f'Expected a whole checkpoint at {path}, found a damaged one: {remedy}.')
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
      return dict(arrays)


def _round_of(name: str) -> int:
  return int(name.removeprefix('round_').removesuffix('.ckpt'))
