"""How much one client may contribute: the privacy claim rests on it, and one user's data must not fill the memory."""

from collections.abc import Iterable, Sequence
import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import shard_bytes
from pipelines.featurizers import base as featurizers
from pipelines.rows import client_ids
from pipelines.rows import rows as rows_lib

KEEPS = ('first', 'latest', 'random')
DUPLICATE = 'duplicate_row'
MAX_EXAMPLES, MAX_BYTES = 'max_examples_per_client', 'max_bytes_per_client'

# So many bytes of rows are gathered before they are bounded: what one user's data beyond its bounds can occupy.
_GATHERED_BYTES = 64 << 20
_OFFSET_BYTES = 8


@dataclasses.dataclass(frozen=True)
class Limits:
  """How much one client may and must contribute.

  Attributes:
    max_examples_per_client: A client with more keeps this many.
    keep: Which ones: its 'first', its 'latest', or 'random' ones, chosen by a hash of the client's id.
    max_bytes_per_client: So many bytes of a client's rows are looked at: the latest ones if those are kept, else the
      first ones.
    min_examples_per_client: A client with fewer is set aside.
  """

  max_examples_per_client: int = 1_000
  keep: str = 'first'
  max_bytes_per_client: int = 16_000_000
  min_examples_per_client: int = 2

  def __post_init__(self) -> None:
    for name in (MAX_EXAMPLES, MAX_BYTES, 'min_examples_per_client'):
      if getattr(self, name) < 1:
        raise ValueError(f'Expected {name} >= 1, found {getattr(self, name)}.')
    if self.min_examples_per_client > self.max_examples_per_client:
      raise ValueError(
          f'Expected min_examples_per_client <= max_examples_per_client, found {self.min_examples_per_client} and '
          f'{self.max_examples_per_client}.'
      )
    if self.keep not in KEEPS:
      raise ValueError(f'Expected keep to be {", ".join(KEEPS)}, found {self.keep!r}.')


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Puts rows in order and removes what is not needed of them.

  Attributes:
    limits: How much a client may contribute.
    featurizer: Says how much its rows weigh.
    identity: A client's rows that agree in these columns are the same row twice; none if there are no such columns.
  """

  limits: Limits
  featurizer: featurizers.Featurizer
  identity: Sequence[str]

  def gather(self, tables: Iterable[pa.Table]) -> tuple[pa.Table, dict[str, int]]:
    """Returns what the clients keep of all tables, sorted by client and order, and how much was removed and why.

    The tables come in the order of the input, all rows of a client among them. What is needed of a client's rows so far
    is all that can be needed of them in the end, so memory holds that and some tables.
    """
    gathered: list[pa.Table] = []
    size, removed = 0, dict.fromkeys((DUPLICATE, MAX_EXAMPLES, MAX_BYTES), 0)
    for table in tables:
      gathered.append(table)
      size += table.nbytes
      if size > _GATHERED_BYTES:
        gathered, size = [self._bound(pa.concat_tables(gathered), removed)], 0
    return self._bound(pa.concat_tables(gathered), removed), removed

  def _bound(self, rows: pa.Table, removed: dict[str, int]) -> pa.Table:
    # The order is found first and the rows are moved once, those that stay.
    rows = rows.combine_chunks()
    clients = _ranks(rows[rows_lib.ID].chunk(0)) if rows.num_rows else np.empty(0, np.int64)
    queue = self._without_duplicates(rows, clients, _queue(clients, rows[rows_lib.ORDER].to_numpy()), removed)
    starts = _starts(clients[queue])
    sizes = _row_bytes(rows)[queue]
    fits = self._reached(sizes, starts) + sizes <= self.limits.max_bytes_per_client
    needed = np.ones(len(queue), bool)
    if self.limits.keep != 'random':
      reached = self._reached(self._weights(rows)[queue], starts)
      needed = reached < self.featurizer.weight_needed(self.limits.max_examples_per_client)
    removed[MAX_EXAMPLES] += int(np.count_nonzero(~needed))
    removed[MAX_BYTES] += int(np.count_nonzero(needed & ~fits))
    return rows.take(pa.array(queue[needed & fits]))

  def _weights(self, rows: pa.Table) -> np.ndarray:
    weights = self.featurizer.weigh(rows)
    return np.ones(rows.num_rows, np.int64) if weights is None else weights

  def _reached(self, amounts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns the sum over the rows of the same client that are kept before this one."""
    before = np.cumsum(amounts) - amounts
    before -= np.repeat(before[starts[:-1]], np.diff(starts))
    if self.limits.keep == 'latest':
      totals = np.add.reduceat(amounts, starts[:-1]) if len(amounts) else amounts
      return np.repeat(totals, np.diff(starts)) - before - amounts
    return before

  def _without_duplicates(
      self, rows: pa.Table, clients: np.ndarray, queue: np.ndarray, removed: dict[str, int]
  ) -> np.ndarray:
    """Returns the queue without the places of rows that the client has twice."""
    suspect = np.full(len(queue), bool(self.identity))
    if rows_lib.ORDER in self.identity:
      suspect = _have_neighbour(clients[queue], rows[rows_lib.ORDER].to_numpy()[queue])
    places = np.flatnonzero(suspect)
    if not len(places):
      return queue
    names = [rows_lib.ID, *self.identity]
    suspects = rows.select(names).take(pa.array(queue[places])).append_column('place', pa.array(places))
    # The one nearest to the end that is kept: what stands before it in the queue does not change when it goes.
    which = 'max' if self.limits.keep == 'latest' else 'min'
    keep = ~suspect
    keep[suspects.group_by(names).aggregate([('place', which)])[f'place_{which}'].to_numpy()] = True
    removed[DUPLICATE] += int(np.count_nonzero(~keep))
    return queue[keep]

  def select(self, made: featurizers.Examples, ids: np.ndarray) -> np.ndarray:
    """Returns which examples are kept: bool `[n]`.

    Args:
      made: All examples of some clients.
      ids: Their ids, uint8 `[clients, 16]`.
    """
    counts, limit = np.diff(made.starts), self.limits.max_examples_per_client
    place = np.arange(len(made.labels)) - np.repeat(made.starts[:-1], counts)
    if self.limits.keep == 'first':
      return place < limit
    if self.limits.keep == 'latest':
      return np.repeat(counts, counts) - place <= limit
    keep = np.ones(len(made.labels), bool)
    for client in np.flatnonzero(counts > limit):
      start, stop = made.starts[client : client + 2]
      keep[start:stop] = chosen(ids[client].tobytes(), b'keep', int(counts[client]), limit)
    return keep


def chosen(client_id: bytes, purpose: bytes, count: int, number: int, key: bytes = b'') -> np.ndarray:
  """Returns which `number` of `count` things a client keeps, by a hash of its id: bool `[count]`."""
  digest = hashlib.blake2b(client_id, digest_size=8, key=key, person=purpose).digest()
  mask = np.zeros(count, bool)
  mask[np.random.Generator(np.random.PCG64(int.from_bytes(digest, 'big'))).permutation(count)[:number]] = True
  return mask


def client_rows(rows: pa.Table) -> tuple[np.ndarray, rows_lib.ClientRows]:
  """Returns the ids, uint8 `[clients, 16]`, and the rows of the clients of a table that `gather` returned."""
  ids = shard_bytes.id_bytes(rows[rows_lib.ID].combine_chunks())
  starts = _starts(ids.view('>u8'))
  return ids[starts[:-1]], rows_lib.ClientRows(rows.drop_columns([rows_lib.ID, rows_lib.ORDER]), starts)


def _ranks(ids: pa.Array) -> np.ndarray:
  """Returns the place of each id among the sorted distinct ones, int64."""
  encoded = ids.dictionary_encode()
  first, second = client_ids.halves(encoded.dictionary)
  ranks = np.empty(len(first), np.int64)
  ranks[np.lexsort((second, first))] = np.arange(len(first))
  return ranks[encoded.indices.to_numpy()]


def _queue(clients: np.ndarray, order: np.ndarray) -> np.ndarray:
  """Returns the places of rows, sorted by client and order; those alike in both stay in the order they are in."""
  lowest, highest = (int(order.min()), int(order.max())) if len(order) else (0, 0)
  span = highest - lowest + 1
  if span * (int(clients.max(initial=0)) + 1) < 2**63:
    return np.argsort(clients * span + (order - lowest), kind='stable')
  return np.lexsort((order, clients))


def _starts(clients: np.ndarray) -> np.ndarray:
  """Returns int64 `[clients + 1]`: where the value changes along the first axis, and both ends."""
  if not len(clients):
    return np.zeros(1, np.int64)
  changes = np.flatnonzero(np.any(clients[1:] != clients[:-1], axis=tuple(range(1, clients.ndim)))) + 1
  return np.concatenate([[0], changes, [len(clients)]])


def _have_neighbour(clients: np.ndarray, order: np.ndarray) -> np.ndarray:
  """Returns which rows of a queue stand beside one of the same client and order: bool `[rows]`."""
  same = (np.diff(clients) == 0) & (np.diff(order) == 0)
  return np.append(same, False) | np.append(False, same) if len(order) else same


def _row_bytes(rows: pa.Table) -> np.ndarray:
  """Returns about how many bytes each row takes in memory: int64 `[rows]`."""
  sizes = np.zeros(rows.num_rows, np.int64)
  for column in rows.columns:
    if _has_lengths(column.type):
      sizes += pc.binary_length(column).to_numpy() + _OFFSET_BYTES
    else:
      sizes += -(-column.nbytes // max(rows.num_rows, 1))
  return sizes


def _has_lengths(kind: pa.DataType) -> bool:
  return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))
