"""What clients keep between the rounds that they take part in: control variates and the like, in a file of the run.

It is simulated: on a fleet of phones, each row would be on its own phone. Each row has its round, and rows count once
a checkpoint is written, so that a run that is killed goes on with what its clients had at that checkpoint.
"""

from collections.abc import Iterator
import contextlib
import errno
import hashlib
import os
import sqlite3
import threading
from typing import Any

import numpy as np

from contracts import formats
from tff_tasks.population import client_report

_DIGEST_BYTES = 16
_CACHE_KB = 64 << 10
# What is not the fault of the content.
_SYSTEM_ERRORS = {
  sqlite3.SQLITE_FULL: errno.ENOSPC,
  sqlite3.SQLITE_READONLY: errno.EROFS,
  sqlite3.SQLITE_CANTOPEN: errno.EACCES,
  sqlite3.SQLITE_PERM: errno.EACCES,
  sqlite3.SQLITE_IOERR: errno.EIO,
  sqlite3.SQLITE_BUSY: errno.EBUSY,
  sqlite3.SQLITE_LOCKED: errno.EBUSY,
  sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}


class ClientState:
  """A float32 vector for each client that has taken part.

  Attributes:
    size: Numbers of a vector.

  Args:
    path: The file; made if missing, readable by its owner only.
    size: As above.
    run_id: The run.
    round_number: The round of the checkpoint that the run goes on from: what clients had later is removed.
    is_new: Whether no round of the run has been run with it: what is there is removed, and all clients have zeros.

  Raises:
    OSError: If the file cannot be read or written.
    ValueError: If the file is of another run, format or size, lacks that round, or is damaged.
  """

  def __init__(self, path: str, size: int, run_id: str, round_number: int, is_new: bool) -> None:
    self.size = size
    self._path = path
    self._saved_round = round_number
    self._changed: set[int] = set()  # Clients with more rows than at the last save.
    self._lock = threading.Lock()
    if is_new:
      for name in (path, f'{path}-journal'):  # A journal of an earlier file would be applied to a new one.
        if os.path.exists(name):
          os.remove(name)
    elif not os.path.exists(path):
      raise ValueError(
        f'Expected client state at {path}, found none: copy the whole run directory, or choose another --output_dir.'
      )
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with self._known_errors(), contextlib.ExitStack() as undone:
      self._rows = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
      undone.callback(self._rows.close)
      # FULL would not synchronize the folder, from which a commit removes the journal.
      self._rows.execute('PRAGMA synchronous = EXTRA')
      # What changes between two saves: with the default of 2 MB, a round of small models is written and read again.
      self._rows.execute(f'PRAGMA cache_size = -{_CACHE_KB}')
      self._rows.execute('BEGIN IMMEDIATE')
      self._create(run_id) if is_new else self._go_back(run_id)
      self._rows.execute('COMMIT')
      self._rows.execute('BEGIN')  # Until the next save: a process that is killed leaves what was saved last.
      undone.pop_all()

  def _create(self, run_id: str) -> None:
    columns = 'client INTEGER, round INTEGER, vector BLOB, digest BLOB, PRIMARY KEY (client, round)'
    # Without rowid, SQLite would search among the vectors themselves.
    self._rows.execute(f'CREATE TABLE state ({columns})')
    self._rows.execute('CREATE TABLE run (id TEXT, size INTEGER, oldest_round INTEGER, saved_round INTEGER)')
    self._rows.execute('INSERT INTO run VALUES (?, ?, ?, ?)', (run_id, self.size, self._saved_round, self._saved_round))
    self._rows.execute(f'PRAGMA user_version = {formats.CLIENT_STATE}')

  def _go_back(self, run_id: str) -> None:
    (found,) = self._rows.execute('PRAGMA user_version').fetchone()
    if found not in (0, formats.CLIENT_STATE):
      raise ValueError(
        f'Expected client state of format {formats.CLIENT_STATE} at {self._path}, found {found}: finish that '
        'run with the version of this program that began it, or choose another --output_dir.'
      )
    row = self._rows.execute('SELECT id, size, oldest_round, saved_round FROM run').fetchone()
    if row is None:
      raise self._damaged('no run')
    found_id, size, oldest, saved = row
    if found_id != run_id or not oldest <= self._saved_round <= saved:
      raise ValueError(
        f'Expected the client state of this run after round {self._saved_round} at {self._path}, found that of '
        f'{"another run" if found_id != run_id else f"rounds {oldest} to {saved}"}: copy the whole run directory, or '
        'choose another --output_dir.'
      )
    if size != self.size:
      raise ValueError(
        f'Expected {self.size} numbers of a client in {self._path}, found {size}: use the --algorithm as it was when '
        'the run began, or choose another --output_dir.'
      )
    self._rows.execute('DELETE FROM state WHERE round > ?', (self._saved_round,))
    self._rows.execute('UPDATE run SET saved_round = ?', (self._saved_round,))

  def fill(self, clients: list[int], block: Any) -> None:
    """Reads the vectors of clients into `memory` of a block; see `client_data.Memory`."""
    self.read_into(clients, block.memory)

  def read_into(self, clients: list[int], block: np.ndarray) -> None:
    """Reads the vectors of clients into the rows of a block; zeros for a client that has none.

    Raises:
      OSError: If the file cannot be read.
      ValueError: If a row is damaged.
    """
    with self._lock, self._known_errors():
      for number, client in enumerate(clients):
        block[number] = self._read(client)

  def _read(self, client: int) -> np.ndarray | float:
    query = 'SELECT round, vector, digest FROM state WHERE client = ? ORDER BY round DESC LIMIT 1'
    row = self._rows.execute(query, (client,)).fetchone()
    if row is None:
      return 0.0
    round_number, vector, digest = row
    if digest != _digest(client, round_number, vector) or len(vector) != 4 * self.size:
      raise self._damaged('a row whose checksum is another')
    return np.frombuffer(vector, np.float32)

  def update(self, round_number: int, rows: client_report.ClientMemory) -> None:
    """Takes what clients have after a round; it is not on the disk before `save` returns.

    Raises:
      OSError: If the file cannot be written.
      ValueError: If it is damaged.
    """
    vectors = np.asarray(rows.values, np.float32)
    with self._lock, self._known_errors():
      for client, vector in zip(rows.index.tolist(), vectors, strict=True):
        content = vector.tobytes()
        row = client, round_number, content, _digest(client, round_number, content)
        # No checkpoint needs what it had between the last save and this round.
        self._rows.execute('DELETE FROM state WHERE client = ? AND round > ?', (client, self._saved_round))
        self._rows.execute('INSERT INTO state VALUES (?, ?, ?, ?)', row)
        self._changed.add(client)

  def save(self, round_number: int, oldest: int) -> None:
    """Writes what has changed; it is on the disk when this returns.

    Args:
      round_number: The round that is about to be saved.
      oldest: The oldest round that the run can go back to: what clients had before what they had then is removed.

    Raises:
      OSError: If the file cannot be written.
      ValueError: If it is damaged.
    """
    with self._lock, self._known_errors():
      self._rows.executemany(
        'DELETE FROM state WHERE client = ? AND round < '
        '(SELECT MAX(round) FROM state AS other WHERE other.client = state.client AND other.round <= ?)',
        [(client, oldest) for client in self._changed],
      )
      self._rows.execute('UPDATE run SET oldest_round = MAX(oldest_round, ?), saved_round = ?', (oldest, round_number))
      self._rows.execute('COMMIT')
      self._rows.execute('BEGIN')
      self._saved_round = round_number
      self._changed.clear()

  @contextlib.contextmanager
  def _known_errors(self) -> Iterator[None]:
    """Turns an error of SQLite into an `OSError` or, if the content is to blame, into a `ValueError`."""
    try:
      yield
    except sqlite3.DatabaseError as error:
      primary = getattr(error, 'sqlite_errorcode', sqlite3.SQLITE_CORRUPT) & 0xFF
      if primary not in _SYSTEM_ERRORS:
        raise self._damaged(str(error)) from error
      code = _SYSTEM_ERRORS[primary]
      raise OSError(code, os.strerror(code), self._path) from error

  def close(self) -> None:
    """Closes the file."""
    self._rows.close()

  def _damaged(self, what: str) -> ValueError:
    return ValueError(f'Expected whole client state at {self._path}, found {what}: choose another --output_dir.')


def _digest(client: int, round_number: int, vector: bytes) -> bytes:
  # Processors have instructions for this one: the hashes were a third of the time of a row.
  return hashlib.sha256(b'%d %d ' % (client, round_number) + vector).digest()[:_DIGEST_BYTES]
