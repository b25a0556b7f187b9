"""The released model: the one file of a run that may leave it, holding what the privacy guarantee covers.

A run's checkpoints hold secrets too (the seed of the noise); the exporter reads this file and never them.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import io
import json
import os
from typing import TYPE_CHECKING
import zipfile
import zlib

import numpy as np

from pipelines import files
from pipelines import schema as schema_lib

if TYPE_CHECKING:
  import tensorflow as tf

FILE_NAME = 'model.npz'
# What reading a damaged file raises: NumPy and zipfile have no one name for it.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class ReleasedModel:
  """Weights (in the order of `keras.Model.get_weights`) with what it takes to rebuild the model around them."""

  schema: schema_lib.Schema
  model_size: int
  round_number: int
  weights: Sequence[np.ndarray]

  def build(self, unroll: bool = False, batch_size: int | None = None) -> 'tf.keras.Model':
    """Returns the Keras model with these weights; see `Task.build_model` for the arguments."""
    from models import registry  # Not above: a damaged file is found without waiting for TensorFlow.

    task = registry.get_task(self.schema.task)
    model = task.build_model(self.schema, self.model_size, unroll, batch_size)
    model.set_weights(list(self.weights))
    return model


def save(model: ReleasedModel, run_dir: str) -> str:
  """Writes the model into the run directory, whole or not at all, and returns the path."""
  header = {
      'schema': model.schema.to_json(),
      'model_size': model.model_size,
      'round_number': model.round_number,
      'sha256': _digest(model.weights),
  }
  arrays = {f'weight_{index:03d}': weight for index, weight in enumerate(model.weights)}
  buffer = io.BytesIO()
  np.savez(buffer, header=np.array(json.dumps(header)), **arrays)
  path = os.path.join(run_dir, FILE_NAME)
  files.write_atomically(path, buffer.getvalue())
  return path


def load(run_dir: str) -> ReleasedModel:
  """Reads what `save` wrote.

  Raises:
    ValueError: If the file is missing or damaged.
  """
  path = os.path.join(run_dir, FILE_NAME)
  try:
    with np.load(path, allow_pickle=False) as arrays:
      header = json.loads(str(arrays['header']))
      weights = [arrays[name] for name in sorted(arrays.files) if name != 'header']
      if header['sha256'] != _digest(weights):
        raise ValueError('other weights than were written')
      schema = schema_lib.Schema.from_json(header['schema'])
      return ReleasedModel(schema, header['model_size'], header['round_number'], weights)
  except FileNotFoundError as error:
    raise ValueError(f'Expected a released model at {path}, found none: train the run first.') from error
  except _DAMAGED as error:
    raise ValueError(
        f'Expected a released model at {path}, found a damaged file ({error}): resume the run to rewrite it.'
    ) from error


def _digest(weights: Sequence[np.ndarray]) -> str:
  """Returns a hash over all weights: the checksums of the file are one a member, and none of its list of members."""
  digest = hashlib.sha256()
  for weight in weights:
    digest.update(f'{weight.dtype.str} {weight.shape}'.encode())
    digest.update(weight.tobytes())
  return digest.hexdigest()
