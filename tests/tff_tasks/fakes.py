"""A small data set on disk, whose clients are of very different sizes, and the config of a short run on it."""

from collections.abc import Iterator, Sequence
import os

import numpy as np

from contracts import client_shards
from contracts import guarantees
from contracts import schema as schema_lib
from pipelines.shards import shard_writing
from tff_tasks import config as config_lib
from tff_tasks.population import client_data
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.training import history as history_lib

SCHEMA = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'uint8', (12,)),
  schema_lib.Feature('next_characters', 'int8', (12,)),
  tuple('_abcdefghi'),
)
SIZES = (1, 40, 3, 0, 17, 2, 9, 5)

CONFIG = config_lib.Config(
  shards_dir='',
  output_dir='',
  total_rounds=4,
  clients_per_round=4,
  sampling='poisson',
  client_learning_rate=0.5,
  client_batch_size=4,
  client_epochs_per_round=1,
  max_examples_per_client=8,
  server_optimizer='adam',
  server_learning_rate=0.01,
  server_learning_rate_schedule='constant',
  model_size=5,
  clip_norm=0.1,
  quantization_bits=8,
  noise_multiplier=1.0,
  target_epsilon=None,
  delta=1e-3,
  rounds_per_eval=2,
  rounds_per_checkpoint=3,
  seed=None,
  runtime='local',
  xla='no',
  on_client_error='stop',
)

# What a data set says that learned its words from its clients.
WORDS = {
  'what': 'vocabulary',
  'source': 'dp',
  'mechanism': 'noisy counts',
  'epsilon': 1.0,
  'delta': 1e-5,
  'unit': 'client',
  'adjacency': guarantees.ADJACENCY,
}

PLAN = plan_lib.PrivacyPlan(
  population=8, clients_per_round=4, clip_norm=0.1, quantization_bits=8, noise_multiplier=1.0, delta=1e-3
)

_NUM_SHARDS = 2
# Half of the characters follow the alphabet, so that there is something to learn.
_REGULAR = 0.5


def write_shards(
  path: str, sizes: Sequence[int] = SIZES, seed: int = 0, validation_users: int = 0
) -> client_shards.ClientShards:
  """Writes one training client for each size, with a tail of one or two examples, and half as many test users.

  The last four labels of each client's last example do not count, as in a text that ends early.
  """
  return write_clients(path, list(_clients(sizes, np.random.default_rng(seed), validation_users)))


def write_clients(path: str, clients: Sequence[shard_writing.ClientExamples]) -> client_shards.ClientShards:
  """Writes a data set of `SCHEMA` with these entries."""
  os.makedirs(path)
  contents = [shard_writing.pack(clients[shard::_NUM_SHARDS]) for shard in range(_NUM_SHARDS)]
  manifest = shard_writing.write_data_set(path, SCHEMA, contents)
  shard_writing.write_manifest(path, SCHEMA, {**manifest, 'learned': []})
  return client_shards.ClientShards(path)


def history(flagfile: str = '--clip_norm=0.1\n', plan: plan_lib.PrivacyPlan = PLAN) -> history_lib.History:
  """Returns the history of a run of four rounds before its first one."""
  return history_lib.begin(flagfile, 'data', 4, plan)


def examples(dataset: client_data.ClientDataset) -> tuple[np.ndarray, np.ndarray]:
  """Returns the features and labels that are the client's."""
  first, count = int(dataset.first), int(dataset.num_examples)
  return dataset.features[first : first + count], dataset.labels[:count]


def damage(shards: client_shards.ClientShards, client: int) -> None:
  """Flips a bit of the first example of a training client on disk."""
  examples = shards.read('train', client)[0].tobytes()
  for path in (os.path.join(shards.path, name) for name, entry in shards.manifest['files'].items() if 'shard' in entry):
    with open(path, 'r+b') as file:
      place = file.read().find(examples)
      if place >= 0:
        file.seek(place)
        file.write(bytes([examples[0] ^ 1]))


def _clients(
  sizes: Sequence[int], rng: np.random.Generator, validation_users: int
) -> Iterator[shard_writing.ClientExamples]:
  for user, size in enumerate(sizes):
    yield shard_writing.ClientExamples(f'user-{user:011d}'.encode(), 'train', *_examples(size, rng))
    yield shard_writing.ClientExamples(f'user-{user:011d}'.encode(), 'tail', *_examples(1 + user % 2, rng))
  for user in range(-(-len(sizes) // 2)):
    yield shard_writing.ClientExamples(f'held-out-{user:07d}'.encode(), 'test', *_examples(2 + 3 * user, rng))
  for user in range(validation_users):
    yield shard_writing.ClientExamples(f'validation-{user:05d}'.encode(), 'validation', *_examples(3 + user, rng))


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
