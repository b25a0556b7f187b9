"""What an export depends on: the run, the data, the variants, the task, the code and the versions of the converters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import hashlib
from importlib import metadata
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any, NamedTuple

from common import files
from common import loading
from contracts import client_shards
from contracts import released_model
from contracts import run_directory
from export import guard

PACKAGES = ('tensorflow', 'tensorflow-model-optimization', 'ai-edge-litert')
# The files of the run that an export reads.
FILES_OF_RUN = (
  run_directory.MODEL,
  run_directory.LEDGER,
  run_directory.FIGURES,
  run_directory.CONFIG_NAME,
)
_ROOT = pathlib.Path(__file__).parents[1]
# Those of our folders whose code takes part in an export.
_FOLDERS = ('common', 'contracts', 'export', 'models', 'reporting')


def hash_of(
  run_dir: str,
  shards: client_shards.ClientShards,
  variants: Iterable[str],
  task: str | None = None,
  settings: Sequence[Any] = (),
) -> str:
  """Returns a hash of what an export depends on: run, data, variants, task, code and the versions of the converters.

  `settings` are whatever else the folder depends on, JSON-ready.

  Of a variant or task of one's own, the code is its module, and nothing that the module imports.
  """
  run = [os.path.join(run_dir, name) for name in FILES_OF_RUN]
  paths = (path for folder in _FOLDERS for path in (_ROOT / folder).rglob('*'))
  code = sorted(str(path) for path in paths if path.suffix in ('.py', '.j2'))
  versions = {name: metadata.version(name) for name in PACKAGES}
  own = filter(None, map(loading.find_file, [*variants, *([task] if task else [])]))
  found = [files.describe(path) if os.path.exists(path) else None for path in (*run, *code, *own)]
  parts = [shards.fingerprint, versions, list(variants), found, *settings]
  return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Snapshot(NamedTuple):
  """A copy of what a run has released.

  Attributes:
    folder: Where the copies of `FILES_OF_RUN` are.
    model: The released model.
    ledger: Its privacy ledger.
  """

  folder: str
  model: released_model.ReleasedModel
  ledger: Mapping[str, Any]


@contextlib.contextmanager
def snapshot(run_dir: str) -> Iterator[Snapshot]:
  """Yields a copy of what is exported.

  All steps see one model while a trainer may release others. Messages of what fails meanwhile name the directory that
  was given.

  Raises:
    ValueError: If the released model or its ledger is missing, damaged, or not released with the other.
  """
  with tempfile.TemporaryDirectory() as folder:
    for name in FILES_OF_RUN:
      with contextlib.suppress(FileNotFoundError):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        shutil.copyfile(os.path.join(run_dir, name), os.path.join(folder, name))
    try:
      yield Snapshot(folder, *released_model.load_with_ledger(folder))
    except ValueError as error:
      raise ValueError(str(error).replace(folder, run_dir)) from error
    except guard.Failed as error:
      raise guard.Failed(str(error).replace(folder, run_dir)) from error


def open_shards(run_dir: str, shards_dir: str | None) -> client_shards.ClientShards:
  """Returns the data that a run was trained on.

  Args:
    run_dir: The run directory.
    shards_dir: The value of `--shards_dir`; None: where the data was when the run was trained.

  Raises:
    ValueError: If there is no run, or the data is other data.
  """
  if not os.path.isdir(run_dir):
    raise ValueError(f'Expected a run directory at {run_dir}, found none: train the run first.')
  shards_dir = shards_dir or run_directory.read_flag(run_dir, 'shards_dir')
  if not shards_dir:
    raise ValueError(f'Expected --shards_dir in {run_dir}/config.flags, found none: pass --shards_dir.')
  shards = client_shards.ClientShards(shards_dir)
  if shards.fingerprint != run_directory.read_data(run_dir):
    raise ValueError(
      f'Expected the data that {run_dir} was trained on, found other shards in {shards_dir}, whose '
      'held-out users may be training users of the model: pass the --shards_dir of the run.'
    )
  return shards
