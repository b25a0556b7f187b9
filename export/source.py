"""What an export depends on: the run, the data, the variants, the task, the code and the versions of the converters."""

from collections.abc import Iterable
import hashlib
from importlib import metadata
import json
import os
import pathlib

from common import files
from common import loading
from contracts import client_shards
from contracts import run_directory

PACKAGES = ('tensorflow', 'ai-edge-litert')
# The files of the run that an export reads.
FILES_OF_RUN = (
  run_directory.MODEL,
  run_directory.LEDGER,
  run_directory.FIGURES,
  run_directory.CONFIG_NAME,
)
_ROOT = pathlib.Path(__file__).parents[1]
# Those of our folders whose code takes part in an export.
_FOLDERS = ('common', 'contracts', 'export', 'models')


def hash_of(
  run_dir: str,
  shards: client_shards.ClientShards,
  variants: Iterable[str],
  task: str | None = None,
  is_default: bool = False,
) -> str:
  """Returns a hash of what an export depends on: run, data, variants, task, code and the versions of the converters.

  If somebody asked for the variants, an export that left out some of its defaults is another one. Of a variant or task
  of one's own, the code is its module, and nothing that the module imports.
  """
  run = [os.path.join(run_dir, name) for name in FILES_OF_RUN]
  paths = (path for folder in _FOLDERS for path in (_ROOT / folder).rglob('*'))
  code = sorted(str(path) for path in paths if path.suffix in ('.py', '.j2'))
  versions = {name: metadata.version(name) for name in PACKAGES}
  own = filter(None, map(loading.find_file, [*variants, *([task] if task else [])]))
  found = [files.describe(path) if os.path.exists(path) else None for path in (*run, *code, *own)]
  parts = [shards.fingerprint, versions, list(variants), is_default, found]
  return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
