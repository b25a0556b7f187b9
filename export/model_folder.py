"""The folder that holds an exported model: whole, or not looking whole.

Everything is made in a staging folder inside it and moved when all is done. `parity.json` is the sign of a complete
export: it goes first when an export is replaced and comes last. Files that no export wrote, as the list of checksums
knows, are never replaced.
"""

from collections.abc import Iterable, Iterator
import contextlib
import errno
import fcntl
import os
import shutil

from common import files
from contracts import run_directory

PARITY = run_directory.PARITY
_MODEL = '.tflite'
_CHECKSUMS = 'SHA256SUMS'
_STAGING = '.staging'
# While files are replaced: the checksums of those before and of those that come.
_JOURNAL = '.publishing'


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
  """Moves the staged files into place, `parity.json` last, and removes the model files of the export before.

  Raises:
    ValueError: If one of them would replace a file that no export wrote.
  """
  names = os.listdir(staging)
  refuse_foreign(output_dir, names)
  before = _checksums(output_dir)
  stale = [name for _, name in before if name.endswith(_MODEL) and name not in names and _is_ours(output_dir, name)]
  sums = {(files.describe(os.path.join(staging, name))['sha256'], name) for name in names}
  files.write_atomically(os.path.join(output_dir, _JOURNAL), _to_text(before | sums))
  files.write_atomically(os.path.join(staging, _CHECKSUMS), _to_text(sums))
  for name in [PARITY, _CHECKSUMS, *sorted(stale)]:
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(output_dir, name))
  for name in sorted(os.listdir(staging), key=lambda name: (name == PARITY, name)):
    os.replace(os.path.join(staging, name), os.path.join(output_dir, name))
  os.remove(os.path.join(output_dir, _JOURNAL))


def refuse_foreign(output_dir: str, names: Iterable[str]) -> None:
  """Raises a ValueError if one of the names is that of a file in the folder that no export wrote, or somebody changed.

  Args:
    output_dir: The folder, which may be missing.
    names: Of the files that an export writes.
  """
  foreign = sorted(name for name in names if not _is_ours(output_dir, name))
  if not foreign and os.path.exists(os.path.join(output_dir, _CHECKSUMS)):
    listed = {name for _, name in _checksums(output_dir)}
    foreign = [] if PARITY in listed else [_CHECKSUMS]
  if foreign:
    raise ValueError(
        f'Expected only files of an export in {output_dir}, found a {foreign[0]} that no export wrote or that was '
        'changed: move it away, or choose another --output_dir.'
    )


def is_current(output_dir: str, source: str) -> bool:
  """Says whether the folder holds the whole export of what `exporter.source_of` returned, with nothing changed."""
  sums = _checksums(output_dir)
  if not sums or os.path.exists(os.path.join(output_dir, _JOURNAL)):
    return False
  record = run_directory.read_parity(output_dir)
  is_whole = record.get('source') == source and not record['failed']
  return is_whole and all(
      os.path.exists(os.path.join(output_dir, name)) and _is_ours(output_dir, name) for _, name in sums
  )


def _is_ours(output_dir: str, name: str) -> bool:
  """Says whether a file is what an export wrote under its name, or is not there."""
  path = os.path.join(output_dir, name)
  return not os.path.lexists(path) or (
      os.path.isfile(path) and (files.describe(path)['sha256'], name) in _checksums(output_dir)
  )


def _checksums(output_dir: str) -> set[tuple[str, str]]:
  """Returns the checksum and the name of each file that exports have written; none if there was no export."""
  found = set()
  for name in (_CHECKSUMS, _JOURNAL):
    with contextlib.suppress(FileNotFoundError), open(os.path.join(output_dir, name), 'rb') as file:
      lines = file.read().decode(errors='replace').splitlines()
      found |= {(digest, name) for digest, _, name in (line.partition('  ') for line in lines) if '/' not in name}
  return found


def _to_text(sums: Iterable[tuple[str, str]]) -> str:
  return ''.join(f'{digest}  {name}\n' for digest, name in sorted(sums, key=lambda entry: entry[::-1]))
