"""The output folder of a job: what is there before, what a failed job leaves, and what a finished one is."""

from collections.abc import Callable
import re
from typing import Any

from pipelines import client_shards
from pipelines import storage
from pipelines.shards import shard_writing

RESULT_NAME = 'pipeline_result.json'
SPILL_NAME = 'spill'

_OTHER_FILES = re.compile(rf'{re.escape(RESULT_NAME)}(\.\d+\.part)?|{SPILL_NAME}')


def find_existing(output_dir: str, describe_origin: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
  """Returns the manifest of the finished data set of the same origin, or None if the folder is free to be used.

  Args:
    output_dir: The folder.
    describe_origin: Says what the data set is to be made of; asked only if there is one.

  Raises:
    ValueError: If the folder holds anything else.
  """
  names = storage.list_names(output_dir)
  foreign = sorted(name for name in names if not _is_ours(name))
  if foreign:
    raise _occupied(output_dir, foreign[0])
  if client_shards.MANIFEST_NAME not in names:
    return None
  path = storage.join(output_dir, client_shards.MANIFEST_NAME)
  manifest = client_shards.parse_manifest(output_dir, storage.read(path))
  other = [name for name, value in describe_origin().items() if manifest.get(name) != value]
  if other:
    raise _occupied(output_dir, f'one made with other {", ".join(other)}')
  if storage.is_local(output_dir):
    client_shards.ClientShards(output_dir)
  return manifest


def _is_ours(name: str) -> bool:
  return bool(shard_writing.OUR_FILES.fullmatch(name) or _OTHER_FILES.fullmatch(name))


def _occupied(output_dir: str, found: str) -> ValueError:
  return ValueError(
      f'Expected an empty output_dir or one made with the same declaration from the same input, found {found} in '
      f'{output_dir}: choose another --output_dir or delete it.'
  )


def prepare(output_dir: str) -> None:
  """Makes the folder, without what an interrupted or failed job left in it."""
  try:
    storage.make_folder(output_dir)
    clear(output_dir)
    storage.make_folder(storage.join(output_dir, SPILL_NAME))
  except OSError as error:
    raise ValueError(
        f'Expected a folder that can be written at {output_dir}, found {storage.explain(error)}: choose another '
        '--output_dir.'
    ) from error


def clear(output_dir: str) -> None:
  """Removes what an interrupted or failed job left: no file of ours outlives it."""
  names = [name for name in storage.list_names(output_dir) if _is_ours(name) and name != SPILL_NAME]
  # The manifest first: without it the rest is no data set.
  for name in sorted(names, key=lambda name: name != client_shards.MANIFEST_NAME):
    storage.remove(storage.join(output_dir, name))
  storage.remove_folder(storage.join(output_dir, SPILL_NAME))
