"""Who and what is held out: whole users, and a part of each training user's examples."""

import dataclasses
import hashlib

import numpy as np

from contracts import client_shards
from pipelines.limits import bounds

TAILS = ('last', 'random')


@dataclasses.dataclass(frozen=True)
class Splits:
  """Which users, and which part of the others' examples, are held out.

  Whether a user is held out depends on the user's id and the key alone, so it never changes when data is added.

  Attributes:
    test_users_share: Share of the users that is kept for the final measurement.
    validation_users_share: Share of the users that is kept for choosing between models.
    tail_share: Share of each training user's examples that is held out.
    tail: Which ones: the 'last', or 'random' ones. Where examples overlap it must be the last ones, and the examples
      that reach into them are not used.
    key: Public key of the hash that chooses, 1 to 64 bytes.
  """

  test_users_share: float = 0.1
  validation_users_share: float = 0.0
  tail_share: float = 0.1
  tail: str = 'last'
  key: str = 'pocketfed'

  def __post_init__(self) -> None:
    for name in ('test_users_share', 'validation_users_share', 'tail_share'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'Expected 0 <= {name} < 1, found {getattr(self, name)}.')
    held_out = self.test_users_share + self.validation_users_share
    if held_out >= 1:
      raise ValueError(
        f'Expected test_users_share + validation_users_share < 1, found {held_out:g}: leave users to train on.'
      )
    if self.tail not in TAILS:
      raise ValueError(f'Expected tail to be {" or ".join(TAILS)}, found {self.tail!r}.')
    if not 1 <= len(self.key.encode()) <= 64:
      raise ValueError('Expected a split key of 1 to 64 bytes.')

  def of_users(self, ids: np.ndarray) -> np.ndarray:
    """Returns the split that each user belongs to, as its place in `client_shards.SPLITS`: int64 `[clients]`.

    Args:
      ids: uint8 `[clients, 16]`.
    """
    key = self.key.encode()
    places = (
      np.frombuffer(
        b''.join(hashlib.blake2b(client.tobytes(), digest_size=8, key=key).digest() for client in ids), '>u8'
      )
      / 2.0**64
    )
    edges = [self.test_users_share, self.test_users_share + self.validation_users_share]
    splits = [client_shards.SPLITS.index(split) for split in ('test', 'validation', 'train')]
    return np.array(splits)[np.searchsorted(edges, places, side='right')]

  def in_tail(self, ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns which examples are in the tail of their client: bool `[sum of counts]`.

    A tail is `tail_share` of the examples, rounded, but at least one and never all.

    Args:
      ids: uint8 `[clients, 16]`.
      counts: int64 `[clients]`, the number of examples of each.
    """
    sizes = np.clip(np.rint(counts * self.tail_share).astype(np.int64), 1, np.maximum(counts, 2) - 1)
    sizes *= (self.tail_share > 0) & (counts > 1)
    starts = np.cumsum(counts) - counts
    if self.tail == 'last':
      place = np.arange(counts.sum()) - np.repeat(starts, counts)
      return place >= np.repeat(counts - sizes, counts)
    key = self.key.encode()
    masks = [
      bounds.chosen(client.tobytes(), b'tail', count, size, key)
      for client, count, size in zip(ids, counts.tolist(), sizes.tolist(), strict=True)
    ]
    return np.concatenate([np.zeros(0, bool), *masks])


def ends_before_tail(
  clients: np.ndarray, in_tail: np.ndarray, first_row: np.ndarray, last_row: np.ndarray
) -> np.ndarray:
  """Returns which examples draw only on rows before those of their client's tail: bool `[examples]`.

  Args:
    clients: int64, the number of the client that each example is of.
    in_tail: bool, the examples that are held out; a client without any has only rows before them.
    first_row: int64, the first row of each example.
    last_row: int64, the last one.
  """
  tails = np.full(clients.max(initial=-1) + 1, np.iinfo(np.int64).max)
  np.minimum.at(tails, clients[in_tail], first_row[in_tail])
  return last_row < tails[clients]
