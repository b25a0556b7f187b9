"""Client ids: from what a log calls a user to a keyed hash, so that nothing behind the reader carries a raw id."""

from collections.abc import Sequence
import functools
import hashlib
import os
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import shard_format
from pipelines.rows import casts
from pipelines.rows import columns
from pipelines.rows import normal_form

MAX_RAW_BYTES = 1_000
KEY_VARIABLE = 'POCKETFED_CLIENT_ID_KEY'
NORMALIZED = 'client_id_normalized'
# Of a declaration that calls its ids public: the hash then hides nothing, it only gives all data sets one form of id.
_PUBLIC_KEY = b'public'

_MIN_KEY_BYTES = 16
# Distinct ids that a worker remembers: users come back in every block, and most rows are of few users.
_REMEMBERED = 1 << 18


class Key(NamedTuple):
  """The key of the hash.

  Attributes:
    secret: The key itself, which stands in no file that the job writes.
    fingerprint: What tells keys apart, for the manifest: it does not help to find the key.
  """

  secret: bytes
  fingerprint: str


def read_key(path: str | None, is_public: bool) -> Key:
  """Returns the key that a file, or else the environment variable, holds.

  Args:
    path: The file, whose content is the key, spaces and line breaks at its ends aside.
    is_public: Whether the ids are declared public and need none.

  Raises:
    ValueError: If there is no key, or one that is too short to be secret.
  """
  if is_public and not path:
    return _make_key(_PUBLIC_KEY)
  content = (_read(path) if path else os.environ.get(KEY_VARIABLE, '').encode()).strip()
  if len(content) < _MIN_KEY_BYTES:
    found = f'{len(content)} bytes' if content else 'none'
    raise ValueError(
      f'Expected a secret key of at least {_MIN_KEY_BYTES} bytes for the client ids, found {found}: give '
      f'--client_id_key_file=FILE or {KEY_VARIABLE} (head -c 32 /dev/urandom | base64 > FILE makes one; keep it), or '
      'declare public_ids = true.'
    )
  return _make_key(content)


def hash_id(client_id: str, key: bytes) -> bytes:
  """Returns the client id, 16 bytes, for a raw id in normal form: BLAKE2b with a key (RFC 7693, section 2.9)."""
  return hashlib.blake2b(client_id.encode(), digest_size=shard_format.ID_BYTES, key=key).digest()


def read_ids(values: pa.Array) -> columns.Values:
  """Reads a column of raw ids as strings in their normal form, of which `normal_form` says what it is.

  Whole numbers and UUIDs serve as well: 17, 17.0 and "17" are the same user. A row has `no_client_id` (null or blank),
  has what is `not_a_client_id` (17.5, a bool, bytes that are not UTF-8), or has a `client_id_too_long`. Rows whose id
  was text of another form are noted as `client_id_normalized`.

  Returns:
    The ids as a dictionary array, which may have a value twice.
  """
  values = casts.unwrap(values)
  missing, text = casts.is_null(values), casts.to_ids(values)
  lost = casts.is_null(text)
  encoded = text.dictionary_encode()
  ids = normal_form.normalize(encoded.dictionary)
  sizes = pc.binary_length(ids).to_numpy()
  blank, too_long = sizes == 0, sizes > MAX_RAW_BYTES
  changed = casts.to_mask(pc.not_equal(ids, encoded.dictionary))
  if too_long.any():  # They would be hashed and remembered.
    ids = pc.if_else(pa.array(too_long), '', ids)
  rows = encoded.indices.fill_null(-1).to_numpy()
  blank, too_long, changed = (np.append(mask, False)[rows] for mask in (blank, too_long, changed))
  reasons = {'no_client_id': missing | blank, 'not_a_client_id': lost & ~missing, 'client_id_too_long': too_long}
  return columns.Values(
    pa.DictionaryArray.from_arrays(encoded.indices, ids),
    {reason: mask for reason, mask in reasons.items() if mask.any()},
    {NORMALIZED: changed} if changed.any() else {},
  )


def hash_ids(ids: pa.Array, key: bytes) -> pa.Array:
  """Returns the client ids, binary(16), of raw ids in normal form without nulls."""
  encoded = ids.dictionary_encode()
  hashes = _remembered_hashes(key).of(encoded.dictionary)
  return from_bytes(hashes[encoded.indices.to_numpy()])


def hash_names(names: Sequence[str], key: bytes) -> list[bytes]:
  """Returns the client ids, 16 bytes, of raw ids as people list them: what `read_ids` refuses gives that of nobody."""
  return hash_ids(read_ids(pa.array(names, pa.string())).values, key).to_pylist()


def from_bytes(ids: np.ndarray) -> pa.Array:
  """Returns uint8 `[n, 16]` as binary(16)."""
  content = pa.py_buffer(np.ascontiguousarray(ids))
  return pa.Array.from_buffers(pa.binary(shard_format.ID_BYTES), len(ids), [None, content])


def halves(ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """Returns the first and the second half of each id as numbers: the ids sort as the pairs do."""
  numbers = shard_format.id_bytes(ids).view('>u8')
  return numbers[:, 0].astype(np.uint64), numbers[:, 1].astype(np.uint64)


def _read(path: str) -> bytes:
  try:
    with open(path, 'rb') as file:
      return file.read()
  except OSError as error:
    raise ValueError(f'Expected the key of client ids in {path}, found {error.strerror}: correct the path.') from error


def _make_key(content: bytes) -> Key:
  secret = hashlib.blake2b(content, digest_size=32, person=b'client id key').digest()
  return Key(secret, hashlib.blake2b(secret, digest_size=8, person=b'fingerprint').hexdigest())


class _Hashes:
  """The hashes of the ids seen so far, found by Arrow: most ids of a block were in one before."""

  def __init__(self, key: bytes):
    self._key = key
    self._ids = pa.array([], pa.string())
    self._hashes = np.empty((0, shard_format.ID_BYTES), np.uint8)

  def of(self, ids: pa.Array) -> np.ndarray:
    """Returns the hashes of ids, mostly distinct ones: uint8 `[n, 16]`."""
    known, hashes = self._ids, self._hashes  # Another thread may replace them.
    places = pc.index_in(ids, value_set=known)
    new = ids.filter(places.is_null())
    if len(new):
      joined = b''.join(hash_id(client_id, self._key) for client_id in new.to_pylist())
      known = pa.concat_arrays([known, new])
      hashes = np.concatenate([hashes, np.frombuffer(joined, np.uint8).reshape(-1, shard_format.ID_BYTES)])
      places = pc.index_in(ids, value_set=known)
    self._ids, self._hashes = (known, hashes) if len(known) <= _REMEMBERED else (known[:0], hashes[:0])
    return hashes[places.to_numpy()]


@functools.lru_cache(1)
def _remembered_hashes(key: bytes) -> _Hashes:
  return _Hashes(key)
