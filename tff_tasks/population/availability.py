"""Who can be invited in a round: everyone, clients by a trace of the user's own, or the built-in day and night.

Each client has a probability for each slot of a cycle, such as the hours of a day. Rounds go through the slots in turn,
and a secret coin of the client decides. What a client answered never matters.
"""

import abc
from collections.abc import Callable

import numpy as np

from contracts import client_shards
from tff_tasks.population import client_table

DIURNAL = 'diurnal'
_HOURS = 24
_LEAST, _MOST = 0.05, 0.95

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
    table = client_table.read(value, 'trace', 'a name for each slot', shards)
  except OSError as error:
    raise ValueError(
      f'Expected --availability to be {DIURNAL} or the path of a trace, found {error.strerror} at {value}: correct it.'
    ) from error
  slots = len(table.columns)
  probabilities = np.empty((shards.num_clients('train'), slots))
  for row in table.rows:
    values = _read_values(table, row)
    if row.client is not None:  # Others may be held out, or had no usable row.
      probabilities[row.client] = values
  return Trace(probabilities, f'a trace of slots: {slots}, SHA-256 {table.digest}')


def _read_values(table: client_table.Table, row: client_table.Row) -> list[float]:
  slots = len(table.columns)
  if len(row.cells) != slots:
    found = f'{len(row.cells)} in line {row.line}'
    raise client_table.misfit(table.what, f'{slots} probabilities', found, 'write one for each slot')
  try:
    values = [float(cell) for cell in row.cells]
  except ValueError:
    values = [np.nan]
  if not all(0 <= value <= 1 for value in values):
    found = f'something else in line {row.line}'
    raise client_table.misfit(table.what, 'probabilities from 0 to 1', found, 'correct that line')
  return values


def _uniform(coins: np.ndarray) -> np.ndarray:
  """Returns float64 from 0, and less than 1."""
  return (coins >> np.uint64(11)) * 2.0**-53
