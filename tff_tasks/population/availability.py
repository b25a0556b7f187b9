"""Who can be invited in a round: everyone, clients by a trace of the user's own, or the built-in day and night.

Each client has a probability for each slot of a cycle, such as the hours of a day. Rounds go through the slots in turn,
and a secret coin of the client decides. What a client answered never matters.
"""

import abc
from collections.abc import Callable, Iterator, Sequence
import csv
import hashlib
import os
import re

import numpy as np

from contracts import client_shards

DIURNAL = 'diurnal'
_HOURS = 24
_LEAST, _MOST = 0.05, 0.95
_ID = re.compile('[0-9a-f]{32}')

_Coins = Callable[[str, int], np.ndarray]


class Availability(abc.ABC):
  """Who can be invited when.

  Attributes:
    name: Says so in words, and tells traces apart.
    slots: Length of the cycle.
  """

  name: str
  slots: int

  @abc.abstractmethod
  def probabilities(self, slot: int, coins: _Coins) -> np.ndarray:
    """Returns float64 `[population]`: of each client to be available in a slot of the cycle."""

  def draw(self, round_number: int, coins: _Coins) -> np.ndarray:
    """Returns bools `[population]`: who can be invited in a round.

    Args:
      round_number: The round; the first one has the first slot.
      coins: As `samplers.base.Draw.coins`.
    """
    probabilities = self.probabilities((round_number - 1) % self.slots, coins)
    return _uniform(coins('available', round_number)) < probabilities


class Diurnal(Availability):
  """A day of 24 rounds: each client has an hour from the secret, when it is most available."""

  name = DIURNAL
  slots = _HOURS

  def probabilities(self, slot: int, coins: _Coins) -> np.ndarray:
    # The mean of two uniform hours: in the middle of the day for most clients.
    peaks = _HOURS * (_uniform(coins(DIURNAL, 0)) + _uniform(coins(DIURNAL, 1))) / 2
    wave = (1 + np.cos(2 * np.pi * (slot - peaks) / _HOURS)) / 2
    return _LEAST + (_MOST - _LEAST) * wave


class Trace(Availability):
  """A table of probabilities.

  Args:
    table: float64 `[population, slots]`.
    name: See `Availability`.
  """

  def __init__(self, table: np.ndarray, name: str) -> None:
    self._table, self.name, self.slots = table, name, table.shape[1]

  def probabilities(self, slot: int, coins: _Coins) -> np.ndarray:
    return self._table[:, slot]


def read(value: str | None, shards: client_shards.ClientShards) -> Availability | None:
  """Returns what --availability says; None: everyone can be invited, always.

  Args:
    value: None, `diurnal`, or the path of a trace: a CSV file whose header is `client` and a name for each slot. A row
      has the id of a client, 32 hexadecimal digits, and its probability in each slot.
    shards: The data set. A row for each training client is needed; those of other clients are not used.

  Raises:
    ValueError: If there is no such file, or it does not fit the data set.
  """
  if not value:
    return None
  if value == DIURNAL:
    return Diurnal()
  try:
    with open(value, 'rb') as file:
      content = file.read()
    lines = content.decode('utf-8-sig').splitlines()
  except OSError as error:
    raise ValueError(
      f'Expected --availability to be {DIURNAL} or the path of a trace, found {error.strerror} at {value}: correct it.'
    ) from error
  except UnicodeDecodeError as error:
    raise _misfit(value, 'text in UTF-8', 'other bytes', 'save it as CSV') from error
  try:
    table = _read_table(os.path.basename(value), csv.reader(lines), shards)
  except csv.Error as error:
    raise _misfit(value, 'a CSV file', f'another ({error})', 'save it as CSV') from error
  return Trace(table, f'a trace of slots: {table.shape[1]}, SHA-256 {hashlib.sha256(content).hexdigest()[:16]}')


def _read_table(name: str, rows: Iterator[Sequence[str]], shards: client_shards.ClientShards) -> np.ndarray:
  header = next(rows, [])
  if len(header) < 2 or header[0].strip() != 'client':
    raise _misfit(name, 'a first line with "client" and a name for each slot', 'another', 'write it')
  clients = {bytes(row).hex(): index for index, row in enumerate(shards.clients('train').client_ids)}
  table = np.full((len(clients), len(header) - 1), np.nan)
  for number, row in enumerate(rows, start=2):
    if not row:
      continue
    client = row[0].strip().lower()
    if not _ID.fullmatch(client):
      raise _misfit(name, 'ids of clients', f'something else in line {number}', 'write them as docs/train.md shows')
    values = _read_values(name, number, row[1:], len(header) - 1)
    if client in clients:  # Others may be held out, or had no usable row.
      if not np.isnan(table[clients[client], 0]):
        raise _misfit(name, 'one line for each client', f'one again in line {number}', 'leave one line out')
      table[clients[client]] = values
  missing = np.flatnonzero(np.isnan(table[:, 0]))
  if missing.size:
    found = f'none for {missing.size}, such as {shards.client_id("train", int(missing[0]))}'
    raise _misfit(name, f'a line for each of {len(clients)} training clients', found, 'add them')
  return table


def _read_values(name: str, number: int, cells: Sequence[str], slots: int) -> list[float]:
  if len(cells) != slots:
    raise _misfit(name, f'{slots} probabilities', f'{len(cells)} in line {number}', 'write one for each slot')
  try:
    values = [float(cell) for cell in cells]
  except ValueError:
    values = [np.nan]
  if not all(0 <= value <= 1 for value in values):
    raise _misfit(name, 'probabilities from 0 to 1', f'something else in line {number}', 'correct that line')
  return values


def _misfit(name: str, expected: str, found: str, remedy: str) -> ValueError:
  return ValueError(f'Expected {expected} in the trace {name}, found {found}: {remedy}.')


def _uniform(coins: np.ndarray) -> np.ndarray:
  """Returns float64 from 0, and less than 1."""
  return (coins >> np.uint64(11)) * 2.0**-53
