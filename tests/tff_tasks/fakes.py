"""A small data set on disk, whose clients are of very different sizes."""

from collections.abc import Iterator, Sequence
import os

import numpy as np

from pipelines import client_shards
from pipelines import files
from pipelines import schema as schema_lib

SCHEMA = schema_lib.Schema(
    'next_character',
    schema_lib.Feature('characters', 'uint8', (12,)),
    schema_lib.Feature('next_characters', 'int8', (12,)),
    tuple('_abcdefghi'),
)
SIZES = (1, 40, 3, 0, 17, 2, 9, 5)

_NUM_SHARDS = 2
# Half of the characters follow the alphabet, so that there is something to learn.
_REGULAR = 0.5


def write_shards(path: str, sizes: Sequence[int] = SIZES, seed: int = 0) -> client_shards.ClientShards:
  """Writes one training client for each size, with a tail of one or two examples, and half as many held-out users.

  The last four labels of each client's last example do not count, as in a text that ends early.
  """
  clients = list(_clients(sizes, np.random.default_rng(seed)))
  os.makedirs(path)
  tables, entries = [], {}
  for shard in range(_NUM_SHARDS):
    name = client_shards.shard_name(shard, _NUM_SHARDS)
    with files.open_atomically(os.path.join(path, name)) as file:
      tables.append(client_shards.write_shard(file, shard, SCHEMA, clients[shard::_NUM_SHARDS]))
    entries[name] = files.describe(os.path.join(path, name))
  index = client_shards.write_index(path, tables)
  entries[client_shards.INDEX_NAME] = files.describe(os.path.join(path, client_shards.INDEX_NAME))
  details = {'files': entries, 'splits': client_shards.count_splits(index)}
  client_shards.write_manifest(path, SCHEMA, details)
  return client_shards.ClientShards(path)


def _clients(sizes: Sequence[int], rng: np.random.Generator) -> Iterator[client_shards.ClientExamples]:
  for user, size in enumerate(sizes):
    yield client_shards.ClientExamples(f'user-{user:03d}', 'train', *_examples(size, rng))
    yield client_shards.ClientExamples(f'user-{user:03d}', 'tail', *_examples(1 + user % 2, rng))
  for user in range(-(-len(sizes) // 2)):
    yield client_shards.ClientExamples(f'held-out-{user:03d}', 'test', *_examples(2 + 3 * user, rng))


def _examples(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Returns features uint8 and labels int8 `[count, 12]`: each character is followed by its label."""
  (length,), classes = SCHEMA.feature.shape, SCHEMA.num_classes
  text = rng.integers(1, classes, (count, length + 1))
  for position in range(length):
    follows = rng.random(count) < _REGULAR
    text[:, position + 1] = np.where(follows, text[:, position] % (classes - 1) + 1, text[:, position + 1])
  labels = text[:, 1:].astype(np.int8)
  labels[-1:, -4:] = schema_lib.IGNORED_LABEL
  return text[:, :-1].astype(np.uint8), labels
