"""What the manifest of a data set says, and the one way to read it. A leaf."""

from collections.abc import Mapping
import re
from typing import Any

from common import sealed_json
from contracts import formats
from contracts import schema as schema_lib

SPLITS = ('train', 'tail', 'validation', 'test')

_COUNTS = {str: int}
_FEATURE = {'name': str, 'dtype': str, 'shape': [int]}
# What readers rely on. A data set that no job made, of a test for example, has no keys of the job.
_FORM = {
  formats.KEY: int,
  'schema': {'task': str, 'feature': _FEATURE, 'label': _FEATURE, 'classes': [str]},
  'index': str,
  'files': {str: {'bytes': int, 'sha256': str, 'shard?': int}},
  'splits': {split: {'clients': int, 'examples': int} for split in SPLITS},
  'rows': {'read': int, 'used': int, 'bounded': int, 'quarantined': _COUNTS},
  'declaration?': {
    'name?': str,
    'client?': {'public_ids': bool},
    'examples?': dict,
    'splits?': {'tail?': str},
    'partition?': dict,
  },
  'client_id_key?': str,
  'input?': {'files': int, 'bytes': int, 'sha256': str},
  'num_shards?': int,
  'code_version?': str,
  'bounded_by?': _COUNTS,
  'clients_set_aside?': _COUNTS,
  'notes?': _COUNTS,
  'warnings?': [str],
  'limits?': dict,
  'learned?': [dict],
  'forgotten?': [{'clients': int, 'asked': int, 'shards': [int], 'date': str}],
  'seconds?': (int, float),
}
_FILE_NAME = re.compile(r'[\w-][\w.-]*').fullmatch


def parse(content: bytes) -> dict[str, Any]:
  """Returns what the bytes of a manifest say.

  Raises:
    ValueError: With what was found instead, if `shard_writing.write_manifest` did not write them.
  """
  written = sealed_json.loads_unchecked(content).get(formats.KEY)
  if written != formats.MANIFEST:
    is_older = type(written) is int and 0 < written < formats.MANIFEST
    found = f'format {written} of an older version' if is_older else 'another'
    raise ValueError(f'{found} (this one reads format {formats.MANIFEST})')
  manifest = sealed_json.loads(content, _FORM)
  if manifest['index'] not in manifest['files']:
    raise ValueError('no index among its files')
  if not all(map(_FILE_NAME, manifest['files'])):
    raise ValueError('a file outside of the folder')
  schema_lib.Schema.from_json(manifest['schema'])
  return manifest


def client_word(manifest: Mapping[str, Any]) -> str:
  """Returns what to call one of the clients: `user`, or `client` where no person is behind one."""
  return 'client' if 'partition' in manifest.get('declaration', {}) else 'user'


def is_ordered(manifest: Mapping[str, Any]) -> bool:
  """Returns whether the examples of a client are in an order that says which are later ones.

  That is what a declaration with a tail of the last examples says; of logs without an order the tail is random. Those
  of simulated clients have a random order.
  """
  declaration = manifest.get('declaration', {})
  return 'partition' not in declaration and declaration.get('splits', {}).get('tail', 'last') == 'last'


def count_overlapping(manifest: Mapping[str, Any]) -> int:
  """Returns how many of the examples that follow an example share rows with it: those of windows that overlap."""
  examples = manifest.get('declaration', {}).get('examples', {})
  length, stride = (examples.get(name) for name in ('length', 'stride'))
  if not (isinstance(length, int) and isinstance(stride, int) and stride > 0):
    return 0
  return max(-(-length // stride) - 1, 0)
