"""The folder of an exported model, which is either complete or does not look complete.

All files are made in a staging folder inside it and moved into place at the end. `SHA256SUMS` is the sign of a complete
export: it is removed first when an export is replaced, and written last. A file that is not listed in it, or that
differs from its checksum, was not written by an export and is never replaced. `SHA256SUMS.sig`, the signature of
`SHA256SUMS`, is removed right after it and written right before it: no other signature is ever beside it.

The name of a file is its path from the folder, with `/`: `snippets/predict.py`.
"""

from collections.abc import Callable, Iterable, Iterator
import contextlib
import errno
import fcntl
import os
import re
import shutil

from common import files
from contracts import run_directory

PARITY = run_directory.PARITY
MODEL = '.tflite'
CHECKSUMS = 'SHA256SUMS'
SIGNATURE = f'{CHECKSUMS}.sig'
STAGING = '.staging'
PAGE = 'index.html'
SNIPPETS = 'snippets'
LITERT_JS = 'litert'
# While files are replaced: the checksums of the old and of the new files.
_JOURNAL = '.publishing'
_SIGNATURE_BYTES = 64
# Files that one export has and the next one may not have.
OPTIONAL = re.compile(
  rf'.*{re.escape(MODEL)}|{re.escape(PAGE)}|({SNIPPETS}|{LITERT_JS})(/.*)?', re.IGNORECASE | re.DOTALL
)

# Returns the signature of some bytes, always the same.
Sign = Callable[[bytes], bytes]


def file_name(task: str, variant: str) -> str:
  """Returns the name of the variant's file in the model folder."""
  return f'{task}.{variant}{MODEL}'


@contextlib.contextmanager
def stage(output_dir: str) -> Iterator[str]:
  """Yields an empty staging folder inside `output_dir`; no other export can use `output_dir` meanwhile.

  Raises:
    ValueError: If the folder cannot be made or written, the disk is full, or another export is running.
  """
  staging = os.path.join(output_dir, STAGING)
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(output_dir, exist_ok=True)
      handle = os.open(output_dir, os.O_RDONLY)
      stack.callback(os.close, handle)
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
      shutil.rmtree(staging, ignore_errors=True)  # Of an export that was killed.
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
      raise ValueError(
        f'Expected free disk space for {output_dir}, found {error.strerror}: delete files that you do not need.'
      ) from error


def publish(staging: str, output_dir: str, sign: Sign | None = None) -> None:
  """Moves the staged files into place, `SHA256SUMS` last, and removes earlier ones that nothing replaces.

  Args:
    staging: Where the files are.
    output_dir: The model folder.
    sign: Signs `SHA256SUMS`; None: there is no signature, and that of the earlier export is removed.

  Raises:
    ValueError: If one of them would replace a file that no export wrote.
  """
  names = find_files(staging)
  refuse_foreign(output_dir, names)
  before = _checksums(output_dir)
  earlier = [name for _, name in before if OPTIONAL.fullmatch(name) and name not in names]
  stale = [name for name in earlier if _is_ours(output_dir, name)]
  sums = {(files.describe(os.path.join(staging, name))['sha256'], name) for name in names}
  files.write_atomically(os.path.join(output_dir, _JOURNAL), _to_text(before | sums))
  files.write_atomically(os.path.join(staging, CHECKSUMS), _to_text(sums))
  if sign:
    files.write_atomically(os.path.join(staging, SIGNATURE), sign(_to_text(sums).encode()))
  for name in [CHECKSUMS, SIGNATURE, PARITY, *sorted(stale)]:
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(output_dir, name))
  _remove_empty_folders(output_dir, earlier)
  last = [PARITY, *([SIGNATURE] if sign else []), CHECKSUMS]
  for name in [*sorted(set(names) - {*last}), *last]:
    os.makedirs(os.path.dirname(os.path.join(output_dir, name)), exist_ok=True)
    os.replace(os.path.join(staging, name), os.path.join(output_dir, name))
  os.remove(os.path.join(output_dir, _JOURNAL))


def find_files(folder: str) -> list[str]:
  """Returns the names of all files and links in a folder and in the folders inside of it, sorted."""
  found = []
  for inner, folders, names in os.walk(folder):
    # Nothing behind a link to a folder is searched: it may lead out of this one.
    links = [name for name in folders if os.path.islink(os.path.join(inner, name))]
    found += [os.path.relpath(os.path.join(inner, name), folder) for name in (*names, *links)]
  return sorted(found)


def is_inside(name: str) -> bool:
  """Returns whether a name that `SHA256SUMS` lists leads to a file inside of the folder, whatever system reads it."""
  # On Windows, `C:x` is on a drive, and `a:b` a hidden part of a file.
  is_plain = not any(character in '\\:' or not character.isprintable() for character in name)
  return is_plain and all(part not in ('', '.', '..') for part in name.split('/'))


def _remove_empty_folders(output_dir: str, names: Iterable[str]) -> None:
  inner = {parent for name in names for parent in _parents(name)}
  for folder in sorted(inner, key=len, reverse=True):
    with contextlib.suppress(OSError):  # It has other files, is a link, or is gone.
      os.rmdir(os.path.join(output_dir, folder))


def _parents(name: str) -> list[str]:
  """Returns the folders that a file is in, the outermost first: `a` and `a/b` of `a/b/c`."""
  parts = name.split('/')
  return ['/'.join(parts[:length]) for length in range(1, len(parts))]


def refuse_foreign(output_dir: str, names: Iterable[str]) -> None:
  """Checks that no file which an export would replace was written or changed by somebody else.

  Args:
    output_dir: The model folder, which may be missing.
    names: The names of the files that an export writes.

  Raises:
    ValueError: If there is such a file.
  """
  foreign = sorted(name for name in {*names, SIGNATURE} if not _is_ours(output_dir, name))
  if not foreign and os.path.exists(os.path.join(output_dir, CHECKSUMS)):
    listed = {name for _, name in _checksums(output_dir)}
    foreign = [] if PARITY in listed else [CHECKSUMS]
  if foreign:
    raise ValueError(
      f'Expected only files of an export in {output_dir}, found a {foreign[0]} that no export wrote or that was '
      'changed: move it away, or choose another --output_dir.'
    )


def is_current(output_dir: str, source: str, sign: Sign | None = None) -> bool:
  """Returns whether the folder has the complete and unchanged export of a source.

  Args:
    output_dir: The model folder, which may be missing.
    source: The hash from `source.hash_of`.
    sign: What would sign it. Then it is current only with that signature: whoever can write into the folder could have
      made checksums that fit other files.
  """
  sums = _checksums(output_dir)
  if not sums or os.path.exists(os.path.join(output_dir, _JOURNAL)):
    return False
  if sign and _read(output_dir, SIGNATURE) != sign(_read(output_dir, CHECKSUMS)):
    return False
  record = run_directory.read_parity(output_dir)
  is_whole = record.get('source') == source and not record['failed']
  return is_whole and all(
    os.path.exists(os.path.join(output_dir, name)) and _is_ours(output_dir, name) for _, name in sums
  )


def _is_ours(output_dir: str, name: str) -> bool:
  """Returns whether a file is as an export wrote it, or does not exist."""
  path = os.path.join(output_dir, name)
  if name == SIGNATURE and os.path.isfile(path):  # No checksum of it can be in what it signs.
    return os.path.getsize(path) == _SIGNATURE_BYTES and bool(_checksums(output_dir))
  for folder in (os.path.join(output_dir, parent) for parent in _parents(name)):
    # A link may lead out of the model folder: what is there is not ours to replace or to remove.
    if os.path.lexists(folder) and (os.path.islink(folder) or not os.path.isdir(folder)):
      return False
  return not os.path.lexists(path) or (
    os.path.isfile(path) and (files.describe(path)['sha256'], name) in _checksums(output_dir)
  )


def _checksums(output_dir: str) -> set[tuple[str, str]]:
  """Returns the checksum and the name of each file that an export wrote; nothing if there was no export."""
  found = set()
  for listing in (CHECKSUMS, _JOURNAL):
    lines = _read(output_dir, listing).decode(errors='replace').split('\n')
    found |= {(digest, name) for digest, _, name in (line.partition('  ') for line in lines) if is_inside(name)}
  return found


def _read(output_dir: str, name: str) -> bytes:
  """Returns what is in a file, nothing if there is none."""
  try:
    with open(os.path.join(output_dir, name), 'rb') as file:
      return file.read()
  except FileNotFoundError:
    return b''


def _to_text(sums: Iterable[tuple[str, str]]) -> str:
  return ''.join(f'{digest}  {name}\n' for digest, name in sorted(sums, key=lambda entry: entry[::-1]))
