"""The folder that holds an exported model: whole, or not looking whole.

Everything is made in a staging folder inside it and moved when all is done. `parity.json` is the sign of a complete
export: it goes first when an export is replaced and comes last.
"""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import os
import shutil

from export import run_directory
from pipelines import files

PARITY = 'parity.json'
_CHECKSUMS = 'SHA256SUMS'
_STAGING = '.staging'


@contextlib.contextmanager
def stage(output_dir: str) -> Iterator[str]:
  """Yields an empty staging folder inside `output_dir`, which no other export may use meanwhile.

  Raises:
    ValueError: If the folder cannot be made or written, is full, or another export is running.
  """
  staging = os.path.join(output_dir, _STAGING)
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(output_dir, exist_ok=True)
      handle = os.open(output_dir, os.O_RDONLY)
      stack.callback(os.close, handle)
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
      shutil.rmtree(staging, ignore_errors=True)  # What a killed export left.
      os.mkdir(staging)
    except BlockingIOError as error:
      raise ValueError(f'Expected no other export into {output_dir}, found one running: wait for it.') from error
    except OSError as error:
      raise ValueError(
          f'Expected a folder that can be written at {output_dir}, found {error.strerror}: choose another --output_dir.'
      ) from error
    stack.callback(shutil.rmtree, staging, ignore_errors=True)
    try:
      yield staging
    except OSError as error:
      if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise
      raise ValueError(f'Expected room to write in {output_dir}, found {error.strerror}: make room.') from error


def publish(staging: str, output_dir: str) -> None:
  """Moves the staged files into place, `parity.json` last, and removes the model files of the export before."""
  _write_checksums(staging)
  stale = set(_model_files(output_dir)) - set(os.listdir(staging))
  for name in [PARITY, _CHECKSUMS, *sorted(stale)]:
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(output_dir, name))
  for name in sorted(os.listdir(staging), key=lambda name: (name == PARITY, name)):
    os.replace(os.path.join(staging, name), os.path.join(output_dir, name))


def _model_files(output_dir: str) -> list[str]:
  """The model files that the export before wrote here; none if it did not get that far."""
  variants = run_directory.read_json(output_dir, PARITY).get('variants', {})
  return [os.path.basename(variant['path']) for variant in variants.values()]


def _write_checksums(staging: str) -> None:
  names = sorted(os.listdir(staging))
  lines = [f'{files.describe(os.path.join(staging, name))["sha256"]}  {name}\n' for name in names]
  files.write_atomically(os.path.join(staging, _CHECKSUMS), ''.join(lines))
