"""Simulated clients: rows without users, split into clients by their label, to compare algorithms on.

The split of Hsu, Qi and Brown 2019 (arXiv:1909.06335): client `c` has label proportions `q_c ~ Dirichlet(alpha * p)`,
where `p` are the shares of the labels in all rows, and the clients draw labels without replacement. They draw in turns,
in an order that is new in each turn, so that no client is left with what the others did not want. A client whose draw
is of a label that ran out draws again among the labels that are left. At the end all rows are drawn, and clients differ
by one row at most. Which row of a label each draw gets is a random permutation.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.readers import base as readers
from pipelines.rows import client_ids
from pipelines.rows import rows as rows_lib

KINDS = ('dirichlet', 'uniform')

_SMALLEST_ALPHA, _LARGEST_ALPHA = 1e-6, 1e6
_MOST_CLIENTS = 1_000_000
_MOST_SEEDS = 2**63
# Draws at once: turns of few clients are drawn together.
_DRAWS = 4096


@dataclasses.dataclass(frozen=True)
class Partition:
  """How rows become clients.

  Attributes:
    kind: 'dirichlet': each client has label proportions of its own; 'uniform': those of all rows.
    clients: How many there are.
    alpha: Of 'dirichlet' alone. The smaller, the fewer labels a client has.
    seed: Another one gives another split.
  """

  kind: str
  clients: int
  alpha: float | None = None
  seed: int = 0

  def __post_init__(self) -> None:
    if self.kind not in KINDS:
      raise ValueError(f'Expected kind to be {" or ".join(KINDS)}, found {self.kind!r}: correct it.')
    if not 1 <= self.clients <= _MOST_CLIENTS:
      raise ValueError(f'Expected 1 <= clients <= {_MOST_CLIENTS:,}, found {self.clients:,}: correct it.')
    if not 0 <= self.seed < _MOST_SEEDS:
      raise ValueError(f'Expected 0 <= seed < 2^63, found {self.seed}: correct it.')
    if self.kind == 'uniform' and self.alpha is not None:
      raise ValueError(f'Expected no alpha with kind = "uniform", found {self.alpha:g}: remove alpha.')
    if self.kind == 'dirichlet' and self.alpha is None:
      raise ValueError('Expected alpha with kind = "dirichlet", found none: add alpha = 0.1.')
    if self.alpha is not None and not _SMALLEST_ALPHA <= self.alpha <= _LARGEST_ALPHA:
      raise ValueError(
        f'Expected {_SMALLEST_ALPHA:g} <= alpha <= {_LARGEST_ALPHA:g}, found {self.alpha:g}: write 0.1 for clients of '
        'few labels, 100 for clients that are nearly alike.'
      )

  def __str__(self) -> str:
    alpha = '' if self.alpha is None else f', alpha {self.alpha:g}'
    return f'{self.clients:,} simulated clients ({self.kind}{alpha}, seed {self.seed})'

  @property
  def is_by_label(self) -> bool:
    """Whether it matters which label a row has."""
    return self.kind == 'dirichlet'

  def check_rows(self, rows: int) -> None:
    """Raises a ValueError if there are fewer rows than clients."""
    if self.clients > rows:
      raise ValueError(
        f'Expected a usable row for each simulated client, found clients = {self.clients:,} and {rows:,} rows: declare '
        'fewer clients in [partition].'
      )

  @property
  def warning(self) -> str:
    """What whoever looks at the data set has to know."""
    return f'{self}: no person is behind a client, so no epsilon of a run on this data set is a promise to a person.'


def count_labels(table: pa.Table, label: str | None) -> list[int]:
  """Returns how many rows have each of the classes, up to the last one that is there; all rows, without a label."""
  return [table.num_rows] if label is None else np.bincount(table[label].to_numpy()).tolist()


class Assignment:
  """Says of each row which simulated client it belongs to: a function of the partition, the key and all labels."""

  def __init__(self, partition: Partition, label: str | None, counts: Mapping[str, Sequence[int]], key: bytes):
    """Looks at how many rows of each label there are.

    Args:
      partition: How rows become clients.
      label: The column of the labels; None if they do not matter.
      counts: What `count_labels` returns for each block of rows, by a name that sorts as the blocks of the input do.
      key: Of the hash of the client ids.

    Raises:
      ValueError: If there are more clients than rows.
    """
    self._partition, self._key = partition, key
    self._label = label if partition.is_by_label else None
    self._blocks = {name: place for place, name in enumerate(sorted(counts))}
    self._counts = np.zeros((len(counts), max(map(len, counts.values()), default=0)), np.int64)
    for name, place in self._blocks.items():
      self._counts[place, : len(counts[name])] = counts[name]
    if self._label is None:  # All labels are one.
      self._counts = self._counts.sum(axis=1, keepdims=True)
    self._totals = self._counts.sum(axis=0)
    # The rows of a label are numbered through the whole input, one label after the other.
    self._first = np.cumsum(self._counts, axis=0) - self._counts + (np.cumsum(self._totals) - self._totals)
    partition.check_rows(int(self._totals.sum()))

  def assign(self, name: str, table: pa.Table) -> pa.Table:
    """Returns the rows of a block with their client ids, and with a random order.

    Args:
      name: Of the block.
      table: Its rows, as `rows.row_schema` says.

    Raises:
      DamagedFile: If the rows are not those that were counted.
    """
    labels = np.zeros(table.num_rows, np.int64) if self._label is None else table[self._label].to_numpy()
    place = self._blocks.get(name)
    counted = np.bincount(labels, minlength=len(self._totals))
    if place is None or not np.array_equal(counted, self._counts[place]):
      raise readers.DamagedFile('Expected input that does not change while it is read, found other rows: run it again.')
    dealt = _deal(self._partition, tuple(self._totals.tolist()))
    numbers = self._first[place][labels] + _occurrences(labels)
    ids = client_ids.from_bytes(_hash_clients(self._partition.clients, self._key)[dealt.clients[numbers]])
    for column, values in ((rows_lib.ID, ids), (rows_lib.ORDER, pa.array(dealt.order[numbers]))):
      table = table.set_column(table.column_names.index(column), table.schema.field(column), values)
    return table


class _Dealt(NamedTuple):
  """Whose each row is, the rows of a label together.

  Attributes:
    clients: int32 `[rows]`, the number of the client.
    order: int64 `[rows]`, distinct and random: the order of the files may be that of the labels.
  """

  clients: np.ndarray
  order: np.ndarray


@functools.lru_cache(1)
def _deal(partition: Partition, totals: tuple[int, ...]) -> _Dealt:
  """Splits rows, so many of each label."""
  random = np.random.default_rng(partition.seed)
  clients, labels = _draw(random, partition, np.array(totals))
  shuffled = random.permutation(len(clients))
  by_label = shuffled[np.argsort(labels[shuffled], kind='stable')]
  return _Dealt(clients[by_label], random.permutation(len(clients)))


def _draw(random: np.random.Generator, partition: Partition, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the client, int32 `[rows]`, and the label, `[rows]`, of each draw."""
  present = np.flatnonzero(totals)
  left, missing = totals[present], int(totals.sum())
  shares = _draw_log_shares(random, partition, left / missing)
  turns = np.tile(np.arange(partition.clients, dtype=np.int32), (max(_DRAWS // partition.clients, 1), 1))
  drawn = []
  while missing:
    waiting = random.permuted(turns, axis=1).ravel()[:missing]
    missing -= len(waiting)
    while len(waiting):
      # The largest of logarithms with Gumbel noise is a draw from the proportions, be they ever so small.
      scores = shares[waiting] + random.gumbel(size=(len(waiting), len(left)))
      scores[:, left == 0] = -np.inf
      labels = scores.argmax(axis=1)
      is_left = _occurrences(labels) < left[labels]
      drawn.append((waiting[is_left], labels[is_left]))
      left -= np.bincount(labels[is_left], minlength=len(left))
      waiting = waiting[~is_left]
  clients, labels = (np.concatenate(part) for part in zip(*drawn, strict=True))
  return clients, present[labels].astype(np.int32)


def _draw_log_shares(random: np.random.Generator, partition: Partition, prior: np.ndarray) -> np.ndarray:
  """Returns the logarithm of each client's label proportions, but for a constant of the client: `[clients, labels]`.

  Proportions are gamma variates over their sum. One of a small `a` is far below the smallest float, so that its
  logarithm is drawn: Gamma(a) is Gamma(a + 1) * U^(1/a).
  """
  if partition.alpha is None:
    return np.broadcast_to(np.log(prior), (partition.clients, len(prior)))
  concentration = partition.alpha * prior
  shape = partition.clients, len(prior)
  return np.log(random.gamma(concentration + 1, size=shape)) + np.log1p(-random.random(shape)) / concentration


def _occurrences(labels: np.ndarray) -> np.ndarray:
  """Returns how many labels before each one are the same."""
  order, counts = np.argsort(labels, kind='stable'), np.bincount(labels)
  numbers = np.empty(len(labels), np.int64)
  numbers[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
  return numbers


@functools.lru_cache(1)
def _hash_clients(clients: int, key: bytes) -> np.ndarray:
  """Returns the ids of the clients: uint8 `[clients, 16]`."""
  names = (client_ids.hash_id(f'simulated client {number}', key) for number in range(clients))
  return np.frombuffer(b''.join(names), np.uint8).reshape(clients, -1)
