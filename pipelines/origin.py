"""What a data set depends on, for its manifest: declaration, input, key and code."""

from collections.abc import Sequence
import hashlib
import importlib
import json
import math
import pathlib
import threading
from typing import Any

import pyarrow as pa

from pipelines.declarations import declaration as declarations
from pipelines.declarations import parsing
from pipelines.execution import storage
from pipelines.readers import inputs
from pipelines.readers import partitions
from pipelines.rows import client_ids

# Of rows, unpacked: a bucket of this size is sorted and featurized in a few hundred megabytes.
_SHARD_BYTES = 32 << 20
# Every block of the input has a slice for every shard: from here on, shards grow with the input.
_MOST_SHARDS = 1_000
_PACKED = ('.gz', '.gzip', '.zst', '.zstd', '.bz2', '.xz', '.lz4', '.zip', '.parquet', '.pq', '.avro', '.npz')
_PACKED_RATIO = 8

_MAKES_EXAMPLES = (
  'contracts',
  'pipelines/declarations',
  'pipelines/featurizers',
  'pipelines/limits',
  'pipelines/readers',
  'pipelines/rows',
  'pipelines/shards',
  'pipelines/statistics',
)
_STEPS = ('transforms.py', 'partition_step.py')


class Origin:
  """What a data set depends on: two jobs of the same origin make the same one.

  Attributes:
    num_shards: How many files it takes.
    is_cancelled: Ends `describe` early.
  """

  def __init__(
    self, paths: Sequence[str], declaration: declarations.Declaration, key: client_ids.Key, num_shards: int = 0
  ):
    """Looks at the sizes of the files.

    Args:
      paths: The files.
      declaration: What they hold.
      key: Of the hash of the client ids.
      num_shards: How many files to make; 0 leaves it to the size of the input.
    """
    self._paths, self._declaration, self._key = paths, declaration, key
    wanted = math.ceil(sum(map(_unpacked_bytes, paths)) / _SHARD_BYTES)
    self.num_shards = num_shards or min(max(wanted, 1), _MOST_SHARDS)
    self.is_cancelled = threading.Event()

  def describe(self) -> dict[str, Any]:
    """Returns it for the manifest; reads the whole input."""
    files = inputs.fingerprint(self._paths, self.is_cancelled.is_set)
    # No names: logs may be kept in a file a user.
    digest = hashlib.sha256(''.join(file['sha256'] for file in files).encode()).hexdigest()
    return {
      'declaration': self._declaration.to_json(),
      'num_shards': self.num_shards,
      'client_id_key': self._key.fingerprint,
      'input': {
        'files': len(files),
        'bytes': sum(file['bytes'] for file in files),
        'sha256': digest,
        **self._describe_folders(digest),
      },
      'code_version': _code_version(self._declaration),
    }

  def _describe_folders(self, digest: str) -> dict[str, str]:
    """Returns an entry for the columns that stand in the names of folders, if there are any."""
    found = partitions.describe(self._paths, parsing.raw_columns(self._declaration))
    if not found:
      return {}
    # They may be client ids: without the key and the whole input nobody can try which ones.
    content = json.dumps([digest, found]).encode()
    return {'folders': hashlib.blake2b(content, digest_size=16, key=self._key.secret).hexdigest()}


def _unpacked_bytes(path: str) -> int:
  return storage.size(path) * (_PACKED_RATIO if path.endswith(_PACKED) else 1)


def _code_version(declaration: declarations.Declaration) -> str:
  """Returns a hash of the code that makes the examples, which exists where no version control does."""
  root = pathlib.Path(__file__).parents[1]
  own = importlib.import_module(type(declaration.featurizer).__module__).__file__ or ''
  ours = [path for name in _MAKES_EXAMPLES for path in (root / name).glob('*.py')]
  digest = hashlib.sha256(f'pyarrow {pa.__version__}'.encode())
  steps = (root / 'pipelines' / name for name in _STEPS)
  for path in sorted({pathlib.Path(own), *steps, *ours}):
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]
