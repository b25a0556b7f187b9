"""The released model and its privacy ledger: what may leave a run, each of them naming the other.

A run's checkpoints hold secrets too (the seed of the noise); the exporter reads these files and never them.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import io
import json
import os
import re
from typing import Any, NamedTuple
import zipfile
import zlib

import numpy as np

from common import files
from common import sealed_json
from contracts import formats
from contracts import run_directory
from contracts import schema as schema_lib

_READ = (formats.MODEL_WITHOUT_TASK, formats.MODEL)
# It becomes a part of file names.
TASK_NAME = re.compile('[A-Za-z][A-Za-z0-9_]*')
# What reading a damaged file raises: NumPy and zipfile have no one name for it.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_REMEDY = 'repeat the training command, which writes both again'


class Task(NamedTuple):
  """The task that a model was trained as.

  Attributes:
    name: What it is called.
    source: What `--task` finds it by: a built-in name or `package.module:attribute`.
  """

  name: str
  source: str


@dataclasses.dataclass(frozen=True)
class ReleasedModel:
  """Weights (in the order of `keras.Model.get_weights`) with what it takes to rebuild the model around them.

  Attributes:
    schema: What the model was trained on.
    model_size: Width of its main layer.
    round_number: The last round that changed it.
    weights: See above.
    run: The id of the run, and which of its attempts the round is of: a run that lost a checkpoint has several.
    own_task: The task of `--task`; None: the one that the schema names.
  """

  schema: schema_lib.Schema
  model_size: int
  round_number: int
  weights: Sequence[np.ndarray]
  run: tuple[str, int] = ('', 0)
  own_task: Task | None = None

  @property
  def task(self) -> Task:
    """The task that it was trained as."""
    return self.own_task or Task(self.schema.task, self.schema.task)

  @property
  def num_weights(self) -> int:
    """How many numbers the model has."""
    return sum(weight.size for weight in self.weights)

  @property
  def digest(self) -> str:
    """A hash over all weights: the checksums of the file are one a member, and none of its list of members."""
    digest = hashlib.sha256()
    for weight in self.weights:
      digest.update(f'{weight.dtype.str} {weight.shape}'.encode())
      digest.update(weight.tobytes())
    return digest.hexdigest()


def save(model: ReleasedModel, ledger: Mapping[str, Any], run_dir: str) -> None:
  """Writes the model and its ledger into the run directory, each whole or not at all.

  The ledger gets the model's digest and the model the ledger's: of two that were not released together,
  because the process was killed between them, reading says so.

  Args:
    model: The model.
    ledger: What `privacy.json` says of it.
    run_dir: The run directory.
  """
  named = {
    formats.KEY: formats.LEDGER,
    **ledger,
    'round': model.round_number,
    'run': list(model.run),
    'model': model.digest,
  }
  text = sealed_json.dumps(named).encode()
  header = {
    formats.KEY: formats.MODEL,
    'schema': model.schema.to_json(),
    'model_size': model.model_size,
    'round_number': model.round_number,
    'run': list(model.run),
    'own_task': model.own_task and list(model.own_task),
    'sha256': model.digest,
    'ledger': hashlib.sha256(text).hexdigest(),
  }
  arrays = {f'weight_{index:03d}': weight for index, weight in enumerate(model.weights)}
  buffer = io.BytesIO()
  np.savez(buffer, header=np.array(json.dumps(header)), **arrays)
  run_directory.make(run_dir)
  # The ledger first: whoever reads meanwhile finds the cost of a round too many, not of one too few.
  files.write_atomically(os.path.join(run_dir, run_directory.LEDGER), text)
  files.write_atomically(os.path.join(run_dir, run_directory.MODEL), buffer.getvalue())


def load(run_dir: str) -> ReleasedModel:
  """Reads the model that `save` wrote, and checks it against its ledger as `load_with_ledger` does."""
  return load_with_ledger(run_dir)[0]


def load_with_ledger(run_dir: str) -> tuple[ReleasedModel, dict[str, Any]]:
  """Reads the model and the ledger that `save` wrote.

  Raises:
    ValueError: If one of them is missing or damaged, or they were not released together.
  """
  run_directory.check_version(run_dir)
  model, checksum = _load_model(os.path.join(run_dir, run_directory.MODEL))
  ledger, hash_of_ledger = load_ledger(os.path.join(run_dir, run_directory.LEDGER))
  if (hash_of_ledger, ledger.get('model')) != (checksum, model.digest):
    raise ValueError(
      f'Expected the model and the privacy ledger in {run_dir} to be released together, found the model of round '
      f'{model.round_number} and a ledger of round {ledger.get("round")}: {_REMEDY}.'
    )
  return model, ledger


def load_ledger(path: str, remedy: str = _REMEDY) -> tuple[dict[str, Any], str]:
  """Reads a ledger that `save` wrote, or a copy of it.

  Args:
    path: The file.
    remedy: What to do if it is missing or damaged.

  Returns:
    The ledger, and the hash of the file.

  Raises:
    ValueError: If it is missing or damaged.
  """
  try:
    with open(path, 'rb') as file:
      ledger = sealed_json.loads(text := file.read(), {})
      formats.check(ledger, formats.LEDGER)
  except FileNotFoundError as error:
    raise ValueError(f'Expected the privacy ledger of a model at {path}, found none: {remedy}.') from error
  except (OSError, ValueError) as error:
    raise ValueError(f'Expected a privacy ledger at {path}, found a damaged file ({error}): {remedy}.') from error
  return ledger, hashlib.sha256(text).hexdigest()


def check_task(model: ReleasedModel, given: str | None, run_dir: str) -> str:
  """Returns what to find the task of a model by.

  A task of the user's own is code, which no data file may choose: the user has to name it.

  Args:
    model: The model.
    given: The value of `--task`, if it is given.
    run_dir: Where the model is, for messages.

  Raises:
    ValueError: If it is given and is another one, or is not given and is one of the user's own.
  """
  source = model.task.source
  if given == source or (given is None and ':' not in source):
    return source
  remedy = 'add that flag, if you trust the code of that module' if ':' in source else 'give that one, or none'
  raise ValueError(
    f'Expected --task={source}, which the model in {run_dir} was trained with, found {given or "none"}: {remedy}.'
  )


def find_rounds(run_dir: str) -> list[tuple[str, int, int]]:
  """Returns the run, the attempt and the round that the files in a run directory say they are of, damaged ones not."""
  found = []
  try:
    model, _ = _load_model(os.path.join(run_dir, run_directory.MODEL))
    found.append((*model.run, model.round_number))
  except ValueError:
    pass
  try:
    with open(os.path.join(run_dir, run_directory.LEDGER), encoding='utf-8') as file:
      ledger = json.load(file)
    (run_id, attempt), round_number = ledger['run'], ledger['round']
    found.append((str(run_id), int(attempt), int(round_number)))
  except (OSError, ValueError, KeyError, TypeError):
    pass
  return found


def _read_task(value: Any) -> Task | None:
  if value is None:
    return None
  name, source = value
  if not (isinstance(source, str) and source.isprintable() and isinstance(name, str) and TASK_NAME.fullmatch(name)):
    raise ValueError('no valid task')
  return Task(name, source)


def _load_model(path: str) -> tuple[ReleasedModel, str]:
  """Returns the model, and the digest of the ledger that it was released with."""
  try:
    with np.load(path, allow_pickle=False) as arrays:
      header = json.loads(str(arrays['header']))
      if header.get(formats.KEY) in _READ:
        weights = [arrays[name] for name in sorted(arrays.files) if name != 'header']
        schema = schema_lib.Schema.from_json(header['schema'])
        run_id, attempt = header['run']
        model = ReleasedModel(schema, header['model_size'], header['round_number'], weights, (run_id, attempt))
        model = dataclasses.replace(model, own_task=_read_task(header.get('own_task')))
        if header['sha256'] != model.digest:
          raise ValueError('other weights than were written')
        return model, header['ledger']
  except FileNotFoundError as error:
    raise ValueError(f'Expected a released model at {path}, found none: train the run first.') from error
  except _DAMAGED as error:
    raise ValueError(f'Expected a released model at {path}, found a damaged file ({error}): {_REMEDY}.') from error
  raise ValueError(
    f'Expected a released model of format {formats.MODEL} at {path}, found one of an earlier version of this '
    'program: train again in another --output_dir.'
  )
