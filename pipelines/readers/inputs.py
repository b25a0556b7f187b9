"""The files that `--input` means: names, globs and folders, on any filesystem that Beam knows."""

from collections.abc import Callable, Iterable, Sequence
import glob
import os
import re
from typing import Any, NamedTuple

from apache_beam.io import filesystems

from pipelines.execution import storage

_HIDDEN = ('.', '_')
_WILDCARDS = re.compile(r'[*?[]')
_MOST_SHOWN = 3


class Inputs(NamedTuple):
  """Input files.

  Attributes:
    paths: Each file once, in the order of their absolute paths.
    skipped: Those in folders, or matched by globs, that nobody means: their names, or their folders', begin with `.`
      or `_`, as those of `_SUCCESS` do.
  """

  paths: list[str]
  skipped: list[str]


def find(patterns: Sequence[str]) -> Inputs:
  """Returns the files that the names, globs and folders mean.

  Relative ones give relative paths. The name of a local file is no glob, whatever is in it. Folders are searched with
  all that is below them.

  Raises:
    ValueError: If one of them means no file.
  """
  paths: dict[str, str] = {}
  skipped: dict[str, str] = {}
  for pattern in patterns:
    found = _find(pattern)
    if not found.paths:
      left = f' besides {_name_some(found.skipped)}, whose names begin with . or _' if found.skipped else ''
      raise ValueError(f'Expected a file at {pattern}, found none{left}: check the path or the glob.')
    for path in found.paths:
      paths.setdefault(_identity(path), path)
    skipped.update((_identity(path), path) for path in found.skipped)
  # However they are spelled, the same files come in the same order: they make the same data set.
  return Inputs(_sort(paths.values()), _sort(path for key, path in skipped.items() if key not in paths))


def fingerprint(paths: Sequence[str], is_cancelled: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
  """Returns name, size and SHA-256 of each file: what makes two inputs the same.

  Args:
    paths: The files.
    is_cancelled: As in `storage.describe`.

  Raises:
    ValueError: If one of them cannot be read.
    futures.CancelledError: If `is_cancelled` says so.
  """
  try:
    return [{'name': filesystems.FileSystems.split(path)[1]} | storage.describe(path, is_cancelled) for path in paths]
  except OSError as error:
    raise ValueError(f'Expected readable files, found {error}: give files or a glob such as FOLDER/*.jsonl.') from error


def _find(pattern: str) -> Inputs:
  if storage.is_local(pattern) and os.path.isfile(pattern):
    return Inputs([pattern], [])
  # A store says of a folder's name alone nothing, or that it is a file.
  if pattern and not _WILDCARDS.search(pattern) and (paths := list(storage.walk(pattern))):
    return _split(pattern, paths)
  found = _split(pattern, _match(pattern))
  return found if found.paths or found.skipped else _split(pattern, _match_folders(pattern))


def _match(pattern: str) -> list[str]:
  # Without a folder in front of its first wildcard Beam finds nothing.
  here = '' if not pattern or os.path.isabs(pattern) or not storage.is_local(pattern) else './'
  matches = filesystems.FileSystems.match([here + pattern])[0].metadata_list
  return sorted(match.path.removeprefix(here) for match in matches)


def _match_folders(pattern: str) -> list[str]:
  if storage.is_local(pattern):
    return [path for folder in glob.glob(pattern) for path in storage.walk(folder)]
  return _match(f'{pattern.rstrip("/")}/**')


def _split(pattern: str, paths: Iterable[str]) -> Inputs:
  """Tells those meant from those skipped, by the names below the folder or in place of the wildcards."""
  wildcard = _WILDCARDS.search(pattern)
  folder, _, begins = pattern[: wildcard.start()].rpartition('/') if wildcard else (pattern, '', '')
  # What a glob names itself, as `_*` does, is meant.
  first = 1 if begins.startswith(_HIDDEN) else 0
  found = Inputs([], [])
  for path in paths:
    names = path.removeprefix(folder).lstrip('/').split('/')[first:]
    found[any(name.startswith(_HIDDEN) and '=' not in name and name != '..' for name in names)].append(path)
  return found


def _identity(path: str) -> str:
  return os.path.realpath(path) if storage.is_local(path) else path


def _sort(paths: Iterable[str]) -> list[str]:
  return sorted(paths, key=storage.absolute)


def _name_some(paths: Sequence[str]) -> str:
  names = ', '.join(os.path.basename(path) for path in paths[:_MOST_SHOWN])
  return names if len(paths) <= _MOST_SHOWN else f'{names}, …'
