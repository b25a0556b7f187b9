"""The output folder of a job: what is there before, what a failed job leaves, and what a finished one is.

A job holds the folder from its first look to its end, because two jobs in one folder would destroy each other.
"""

from collections.abc import Callable, Iterable, Iterator
import contextlib
import os
import re
from typing import Any
import uuid

from common import files
from contracts import client_shards
from pipelines.execution import storage
from pipelines.shards import shard_writing

RESULT_NAME = 'pipeline_result.json'
# A name that no user's folder has: what is in it will be deleted.
SPILL = re.compile('spill-[0-9a-f]{32}')

_LOCK = re.compile('lock-[0-9a-f]{32}')
_RESULT = re.compile(rf'{re.escape(RESULT_NAME)}(\.\d+\.part)?')
_OURS = (shard_writing.OUR_FILES, _RESULT, SPILL)


@contextlib.contextmanager
def hold(output_dir: str) -> Iterator[None]:
  """Makes the folder, and keeps other jobs out of it for as long as the block runs.

  If the block fails, the folders that were made on a local or mounted disk are removed, unless there is something in
  them: an empty folder is of no use to the next job.

  On a local or mounted disk a killed job holds nothing, and jobs on other machines are kept out only if the filesystem
  carries locks from one to another. Elsewhere the lock is a file: of two jobs that begin at the same moment both may be
  refused, and one that is killed without a chance to tidy up leaves its file, to be removed by hand.

  Raises:
    ValueError: If another job is at work there, or if the folder cannot be written.
  """
  with contextlib.ExitStack() as stack:
    is_local = storage.is_local(output_dir)
    new = _find_missing(output_dir) if is_local else []
    with _explaining(output_dir):
      storage.make_folder(output_dir)
      stack.enter_context(_flock(output_dir) if is_local else _lock_file(output_dir))
    try:
      yield
    except BaseException:
      with contextlib.suppress(OSError):  # Not empty, or gone: whoever did that wants it so.
        for folder in new:
          os.rmdir(folder)
      raise


def _find_missing(folder: str) -> list[str]:
  """Returns those of a local folder and the ones above it that are not there, the innermost first."""
  missing, folder = [], os.path.abspath(folder)
  while not os.path.lexists(folder):
    missing.append(folder)
    folder = os.path.dirname(folder)
  return missing


@contextlib.contextmanager
def _flock(output_dir: str) -> Iterator[None]:
  try:
    folder = files.lock_folder(output_dir)
  except BlockingIOError as error:
    raise _held(output_dir, '.') from error
  try:
    if not os.path.exists(output_dir) or not os.path.samestat(os.fstat(folder), os.stat(output_dir)):
      raise _held(output_dir, '.')  # A job that failed has just removed it.
    yield
  finally:
    os.close(folder)


@contextlib.contextmanager
def _lock_file(output_dir: str) -> Iterator[None]:
  name = f'lock-{uuid.uuid4().hex}'
  try:
    # Written before looking around: of two jobs at least one sees the other.
    storage.write_new(storage.join(output_dir, name), b'A job is writing this folder.\n')
    others = [other for other in storage.list_names(output_dir) if _LOCK.fullmatch(other) and other != name]
    if others:
      raise _held(output_dir, f', or remove {storage.join(output_dir, others[0])} if that job was killed.')
    yield
  finally:
    # Whatever came of the job matters more: the next one names a lock that is left.
    with contextlib.suppress(OSError):
      storage.remove(storage.join(output_dir, name))


def _held(output_dir: str, way_out: str) -> ValueError:
  return ValueError(
    f'Expected an output_dir that no other job is writing, found one at work in {output_dir}: wait for it or choose '
    f'another --output_dir{way_out}'
  )


@contextlib.contextmanager
def _explaining(output_dir: str) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise ValueError(
      f'Expected a folder that can be written at {output_dir}, found {storage.explain(error)}: choose another '
      '--output_dir.'
    ) from error


def find_existing(output_dir: str, describe_origin: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
  """Returns the manifest of the finished data set of the same origin, or None if the folder is free to be used.

  Args:
    output_dir: The folder.
    describe_origin: Says what the data set is to be made of; asked only if there is one.

  Raises:
    ValueError: If the folder holds anything else, or if that cannot be known.
  """
  with _explaining(output_dir):
    names = storage.list_names(output_dir)
  foreign = sorted(name for name in names if not _matches((*_OURS, _LOCK), name))
  if foreign:
    raise _occupied(output_dir, foreign[0])
  if client_shards.MANIFEST_NAME not in names:
    return None
  with _explaining(output_dir):
    content = storage.read(storage.join(output_dir, client_shards.MANIFEST_NAME))
  manifest = client_shards.parse_manifest(output_dir, content)
  other = [name for name, value in describe_origin().items() if manifest.get(name) != value]
  if other:
    raise _occupied(output_dir, f'one made with other {", ".join(other)}')
  if storage.is_local(output_dir):
    client_shards.ClientShards(output_dir)
  with _explaining(output_dir):  # Of whoever was killed while forgetting.
    for name in names:
      if name.endswith('.part') and _matches(_OURS, name):
        storage.remove(storage.join(output_dir, name))
  return manifest


def _matches(patterns: Iterable[re.Pattern[str]], name: str) -> bool:
  return any(pattern.fullmatch(name) for pattern in patterns)


def _occupied(output_dir: str, found: str) -> ValueError:
  return ValueError(
    f'Expected an empty output_dir or one made with the same declaration from the same input, found {found} in '
    f'{output_dir}: choose another --output_dir or delete it.'
  )


def prepare(output_dir: str) -> str:
  """Removes what an interrupted or failed job left in the folder; only who holds it and found nothing in it may do so.

  Returns:
    The path of a new folder in it for rows that wait to be gathered.

  Raises:
    ValueError: If the folder cannot be written, or if there is a data set in it all the same.
  """
  with _explaining(output_dir):
    if client_shards.MANIFEST_NAME in storage.list_names(output_dir):
      raise _occupied(output_dir, f'a {client_shards.MANIFEST_NAME} that was not there before')
    clear(output_dir)
    return new_spill_folder(output_dir)


def new_spill_folder(output_dir: str) -> str:
  """Makes a folder in the output folder for the rows of one run, and returns its path."""
  path = storage.join(output_dir, f'spill-{uuid.uuid4().hex}')
  storage.make_folder(path)
  return path


def clear(output_dir: str) -> None:
  """Removes what a job left that made no data set; only who holds the folder may do so.

  If there is a manifest, even so, then the data set that it describes stays whole.

  Raises:
    OSError: If something could not be removed; all else is gone then.
  """
  names = storage.list_names(output_dir)
  removable = (_RESULT, SPILL) if client_shards.MANIFEST_NAME in names else _OURS
  left = [name for name in names if _matches(removable, name)]
  failures = []
  # The users' rows first.
  for name in sorted(left, key=lambda name: not SPILL.fullmatch(name)):
    remove = storage.remove_folder if SPILL.fullmatch(name) else storage.remove
    try:
      remove(storage.join(output_dir, name))
    except OSError as error:
      failures.append(error)
  if failures:
    raise failures[0]
