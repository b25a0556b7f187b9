"""How much one client may contribute: the privacy claim rests on it, and one user's data must not fill the memory."""

from collections.abc import Iterable, Sequence
import dataclasses
import hashlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import shard_format
from pipelines.featurizers import base as featurizers
from pipelines.rows import client_ids
from pipelines.rows import rows as rows_lib

KEEPS = ('first', 'latest', 'random')
DUPLICATE = 'duplicate_row'
MAX_EXAMPLES, MAX_BYTES, TOO_LARGE = 'max_examples_per_client', 'max_bytes_per_client', 'row_too_large'

# So many bytes of rows are gathered before they are bounded: what one user's data beyond its bounds can occupy.
_GATHERED_BYTES = 64 << 20
_OFFSET_BYTES = 8
_MOST_SEEDS = 2**63


@dataclasses.dataclass(frozen=True)
class Limits:
  """How much one client may and must contribute.

  Attributes:
    max_examples_per_client: A client with more keeps this many.
    keep: Which ones: its 'first', its 'latest', or 'random' ones, chosen by a hash of the client's id and the seed.
    max_bytes_per_client: So many bytes of a client's rows are looked at: the latest ones if those are kept, else the
      first ones. A row that alone is larger is dropped, as if it were not there.
    min_examples_per_client: A client with fewer has none: a training client still counts in the population.
    seed: Of keep = 'random': another seed chooses others, whoever has the same choice made twice needs the same. Not a
      secret.
  """

  max_examples_per_client: int = 1_000
  keep: str = 'first'
  max_bytes_per_client: int = 16_000_000
  min_examples_per_client: int = 2
  seed: int = 0

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
    if not 0 <= self.seed < _MOST_SEEDS:
      raise ValueError(f'Expected 0 <= seed < 2^63, found {self.seed}.')


class Gathered(NamedTuple):
  """The rows of some clients within their bounds.

  Attributes:
    rows: Sorted by client and order.
    removed: How many rows were removed, by reason.
    bare_ids: The ids of the clients that have no rows left, sorted.
  """

  rows: pa.Table
  removed: dict[str, int]
  bare_ids: list[bytes]


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Puts rows in order and removes what is not needed of them.

  Attributes:
    limits: How much a client may contribute.
    featurizer: Says how much its rows weigh.
    identity: A client's rows that agree in these columns are the same row twice; none if there are no such columns.
      If there are some, `deciding_columns` are among them.
  """

  limits: Limits
  featurizer: featurizers.Featurizer
  identity: Sequence[str]

  def gather(self, tables: Iterable[pa.Table]) -> 'Gathered':
    """Returns what the clients keep of all tables.

    The tables come in the order of the input, all rows of a client among them; one may hold ids alone, of clients whose
    rows cannot be used. Memory holds what is needed of the rows so far, and some tables.

    What a client keeps depends on its own rows alone, and not on where the pieces end in which they are bounded. For
    copies of a row weigh the same and take as many bytes (`deciding_columns`), so that a client has a set of distinct
    rows, each at the best place of its copies, which more copies can only better; it keeps those from the best place on
    until weight or bytes are reached. A piece keeps that beginning too, with the row that reaches a limit. What it
    removes stands behind all of it, and whatever comes later puts no row of the beginning behind a removed one, so that
    this stays out of reach: unless a better copy of it comes, which then is judged by its own place. And what comes
    later and would stand behind a removed row stands behind the whole beginning, and is out of reach as well. (Only the
    reasons may differ: the copy of a removed row is a row too many rather than a duplicate.)
    """
    gathered: list[pa.Table] = []
    bereft: set[bytes] = set()
    size, removed = 0, dict.fromkeys((DUPLICATE, MAX_EXAMPLES, MAX_BYTES, TOO_LARGE), 0)
    for table in tables:
      if table.column_names == [rows_lib.ID]:
        bereft.update(table[rows_lib.ID].to_pylist())
        continue
      is_too_large = _row_bytes(table) > self.limits.max_bytes_per_client
      if is_too_large.any():
        bereft.update(table[rows_lib.ID].filter(pa.array(is_too_large)).unique().to_pylist())
        removed[TOO_LARGE] += int(np.count_nonzero(is_too_large))
        table = table.filter(pa.array(~is_too_large))
      gathered.append(table)
      size += table.nbytes
      if size > _GATHERED_BYTES:
        gathered, size = [self._bound(pa.concat_tables(gathered), removed, is_last=False)], 0
    no_rows = rows_lib.row_schema(self.featurizer.columns, rows_lib.REST in self.identity).empty_table()
    kept = self._bound(pa.concat_tables(gathered or [no_rows]), removed, is_last=True)
    if bereft:
      bereft.difference_update(kept[rows_lib.ID].unique().to_pylist())
    return Gathered(kept, removed, sorted(bereft))

  def _bound(self, rows: pa.Table, removed: dict[str, int], is_last: bool) -> pa.Table:
    # The order is found first and the rows are moved once, those that stay.
    rows = rows.combine_chunks()
    clients = _ranks(rows[rows_lib.ID].chunk(0)) if rows.num_rows else np.empty(0, np.int64)
    queue = self._without_duplicates(rows, clients, _queue(clients, rows[rows_lib.ORDER].to_numpy()), removed)
    starts = _starts(clients[queue])
    sizes = _row_bytes(rows)[queue]
    # The row that goes beyond the bytes stays until the end: without it, a smaller one behind it would take its place.
    fits = self._reached(sizes, starts) + (sizes if is_last else 1) <= self.limits.max_bytes_per_client
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
      suspect = _have_neighbor(clients[queue], rows[rows_lib.ORDER].to_numpy()[queue])
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
    keep, key = np.ones(len(made.labels), bool), str(self.limits.seed).encode()
    for client in np.flatnonzero(counts > limit):
      start, stop = made.starts[client : client + 2]
      keep[start:stop] = chosen(ids[client].tobytes(), b'keep', int(counts[client]), limit, key)
    return keep


def chosen(client_id: bytes, purpose: bytes, count: int, number: int, key: bytes) -> np.ndarray:
  """Returns which `number` of `count` things a client keeps, by a keyed hash of its id: bool `[count]`."""
  digest = hashlib.blake2b(client_id, digest_size=8, key=key, person=purpose).digest()
  mask = np.zeros(count, bool)
  mask[np.random.Generator(np.random.PCG64(int.from_bytes(digest, 'big'))).permutation(count)[:number]] = True
  return mask


def client_rows(rows: pa.Table) -> tuple[np.ndarray, rows_lib.ClientRows]:
  """Returns the ids, uint8 `[clients, 16]`, and the rows of the clients of a table that `gather` returned."""
  ids = shard_format.id_bytes(rows[rows_lib.ID].combine_chunks())
  starts = _starts(ids.view('>u8'))
  own = [name for name in rows.column_names if name not in (rows_lib.ID, rows_lib.ORDER, rows_lib.REST)]
  return ids[starts[:-1]], rows_lib.ClientRows(rows.select(own), starts)


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


def _have_neighbor(clients: np.ndarray, order: np.ndarray) -> np.ndarray:
  """Returns which rows of a queue stand beside one of the same client and order: bool `[rows]`."""
  same = (np.diff(clients) == 0) & (np.diff(order) == 0)
  return np.append(same, False) | np.append(False, same) if len(order) else same


def deciding_columns(featurizer: featurizers.Featurizer) -> list[str]:
  """Returns the columns that an identity of rows must hold, so that copies of a row weigh and take the same.

  All, if the featurizer weighs rows; else those whose values are not all of a size.
  """
  is_weighed = featurizer.weigh(rows_lib.row_schema(featurizer.columns).empty_table()) is not None
  return [column.name for column in featurizer.columns if is_weighed or _width(column.kind.arrow_type) is None]


def _row_bytes(rows: pa.Table) -> np.ndarray:
  """Returns about how many bytes each row takes in memory, whatever the other rows are: int64 `[rows]`."""
  sizes = np.zeros(rows.num_rows, np.int64)
  for column in rows.drop_columns([rows_lib.REST] if rows_lib.REST in rows.column_names else []).columns:
    width = _width(column.type)
    sizes += _OFFSET_BYTES + _lengths(column) if width is None else width
  return sizes


def _width(kind: pa.DataType) -> int | None:
  """Returns how many bytes each value of a type takes, or None if they take more and fewer."""
  try:
    return -(-kind.bit_width // 8)
  except ValueError:
    return None


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
  if pa.types.is_nested(column.type):
    return pc.list_value_length(column).to_numpy() * column.type.value_type.bit_width // 8
  return pc.binary_length(column).to_numpy()
