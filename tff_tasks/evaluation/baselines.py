"""What an accuracy is compared with: answers that need no model, on the same held-out users.

The majority is the most frequent answer of the held-out users themselves. The bigram, for sequences, is a table counted
on the training clients: after each class, the one that follows it most often. Both are exact figures of clients' data.
"""

from collections.abc import Iterator
import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts import client_shards
from contracts import schema as schema_lib
from tff_tasks.population import client_data

MAJORITY, BIGRAM = 'majority', 'bigram'

_SEED = 0
# Enough to know the bigrams of a language, and read in seconds.
_MOST_CLIENTS = 10_000
_MOST_POSITIONS = 1 << 24
_BLOCK_POSITIONS = 1 << 20


class Figures(NamedTuple):
  """What is known of the answers of one split; NaN without any.

  Attributes:
    baseline: The name of the stronger baseline.
    baseline_accuracy: Its accuracy.
    majority_class: The most frequent answer, None without any.
    majority_accuracy: Its share of the answers that count.
    bigram_accuracy: None for what is not a sequence.
    bigram_clients: On how many training clients the bigram was counted, None for what is not a sequence.
    coverage: Share of the answers that are among the classes: the others no model of these can give.
  """

  baseline: str
  baseline_accuracy: float
  majority_class: str | None
  majority_accuracy: float
  bigram_accuracy: float | None
  bigram_clients: int | None
  coverage: float

  @property
  def in_short(self) -> str:
    return '' if np.isnan(self.baseline_accuracy) else f'{self.baseline} {self.baseline_accuracy:.1%}'


class _Bigram(NamedTuple):
  """The class that follows each class, int64 `[classes]`, and how many clients were counted."""

  follower: np.ndarray
  clients: int


class Baselines:
  """Measures the baselines on the splits of a data set, for which the training clients are counted once.

  Args:
    shards: The data set.
  """

  def __init__(self, shards: client_shards.ClientShards) -> None:
    self._shards = shards

  def measure(self, split: str) -> Figures:
    """Returns the figures of one split.

    Raises:
      ValueError: If the data of a client cannot be read.
    """
    schema = self._shards.schema
    counts, hits, answers = np.zeros(schema.num_classes, np.int64), 0, 0
    for client in range(self._shards.num_clients(split)):
      features, labels = client_data.read_held_out(self._shards, split, client)
      counted = labels >= 0
      counts += np.bincount(labels[counted], minlength=schema.num_classes)
      answers += np.count_nonzero(labels != schema_lib.IGNORED_LABEL)
      if self._bigram:
        hits += np.count_nonzero(self._bigram.follower[features[counted]] == labels[counted])
    return _figures(schema, counts, answers, hits, self._bigram)

  @functools.cached_property
  def _bigram(self) -> _Bigram | None:
    return _count_bigram(self._shards) if self._shards.schema.is_sequence else None


def _figures(schema: schema_lib.Schema, counts: np.ndarray, answers: int, hits: int, bigram: _Bigram | None) -> Figures:
  total = int(counts.sum())
  if not total:
    return Figures(MAJORITY, np.nan, None, np.nan, None, None, 0.0 if answers else np.nan)
  majority = int(counts.argmax())
  accuracies = {MAJORITY: float(counts[majority] / total)}
  if bigram:
    accuracies[BIGRAM] = hits / total
  name = max(accuracies, key=lambda name: accuracies[name])
  return Figures(
    baseline=name,
    baseline_accuracy=accuracies[name],
    majority_class=schema.classes[majority],
    majority_accuracy=accuracies[MAJORITY],
    bigram_accuracy=accuracies.get(BIGRAM),
    bigram_clients=bigram.clients if bigram else None,
    coverage=total / answers,
  )


def _count_bigram(shards: client_shards.ClientShards) -> _Bigram:
  num_classes, counter, clients = shards.schema.num_classes, _Counter(), 0
  for block in _blocks(shards):
    clients += len(block)
    pairs = (features[labels >= 0].astype(np.int64) * num_classes + labels[labels >= 0] for features, labels in block)
    counter.add(np.concatenate([*pairs]))
  keys, counts = counter.total()
  before, after = np.divmod(keys, num_classes)
  follower = np.full(num_classes, np.bincount(after, counts, num_classes).argmax())
  # The last one assigned stays: of as frequent ones the first class, as in argmax.
  order = np.lexsort((-after, counts))
  follower[before[order]] = after[order]
  return _Bigram(follower, clients)


def _blocks(shards: client_shards.ClientShards) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
  """Yields the features and labels of training clients in blocks, of a sample where they are many.

  A client whose data cannot be used is not counted: whether that ends the run is for its rounds to say.
  """
  block, positions = [], 0
  for client in _sample(shards.clients('train').examples * shards.schema.label.size):
    try:
      features, labels = shards.read('train', client)
      client_data.check_codes(features, labels, shards.schema)
    except ValueError:
      continue
    block.append((features, labels))
    positions += labels.size
    if positions >= _BLOCK_POSITIONS:
      yield block
      block, positions = [], 0
  if block:
    yield block


def _sample(positions: np.ndarray) -> list[int]:
  """Returns the clients to look at, all or the same random ones at each call, given the positions of each."""
  order = np.random.default_rng(_SEED).permutation(len(positions))[:_MOST_CLIENTS]
  before = np.cumsum(positions[order]) - positions[order]
  return sorted(order[before < _MOST_POSITIONS].tolist())


class _Counter:
  """Counts integers of which few of the possible ones occur: a table of all pairs of 10,000 words would be 800 MB."""

  def __init__(self) -> None:
    self._keys, self._counts = np.empty((2, 0), np.int64)
    self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

  def add(self, keys: np.ndarray) -> None:
    counted = pa.array(keys).value_counts()
    self._waiting.append((counted.field('values').to_numpy(), counted.field('counts').to_numpy()))
    if sum(len(waiting) for waiting, _ in self._waiting) > len(self._keys):
      self.total()

  def total(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different integers and how often each of them was added."""
    keys, counts = (np.concatenate(arrays) for arrays in zip((self._keys, self._counts), *self._waiting, strict=True))
    self._keys, places = np.unique(keys, return_inverse=True)
    self._counts = np.bincount(places, counts, len(self._keys)).astype(np.int64)
    self._waiting = []
    return self._keys, self._counts
