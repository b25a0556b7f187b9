"""Numbers brought to mean 0 and standard deviation 1: with figures that were declared, are public, or were learned."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv
import pyarrow.compute as pc

from contracts import guarantees
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base
from pipelines.statistics import mechanisms
from pipelines.statistics import public_files

_LARGEST = np.finfo(np.float32).max
SOURCES = ('none', 'declared', 'public', 'dp')

# What a client adds is whole numbers of this part of a range, so that sums are exact in any order: a floating-point sum
# depends on it, and that may be more than the noise is for (Casacuberta et al. 2022, arXiv 2207.10635).
_GRID = 2**20


@dataclasses.dataclass(frozen=True)
class Scaling:
  """Where the mean and the standard deviation of each column come from.

  Attributes:
    source: 'none' leaves numbers as they are; 'declared' says mean and stddev; 'public' takes them from `file`; 'dp'
      learns them from the training users.
    mean: Of each column, in the order of the columns; what `file` holds or the users had, once known.
    stddev: Of each column, above 0; likewise.
    file: Of 'public': a CSV with a header, whose columns are those that are scaled, in their order.
    epsilon: Of 'dp': what learning may cost.
    delta: Of 'dp': likewise; below 1 / users.
    lower: Of 'dp': the declared range of each column, to which its values are limited while learning.
    upper: The other end of it.
    names: Of 'public': the columns of the file. Filled in by `load`.
    sha256: Of 'public': of the file. Filled in by `load`, which refuses another file than a declared one.
  """

  source: str = 'none'
  mean: tuple[float, ...] = ()
  stddev: tuple[float, ...] = ()
  file: str = ''
  epsilon: float = 0.0
  delta: float = 0.0
  lower: tuple[float, ...] = ()
  upper: tuple[float, ...] = ()
  names: tuple[str, ...] = ()
  sha256: str = ''

  def __post_init__(self) -> None:
    if self.source not in SOURCES:
      raise ValueError(f'Expected source to be {", ".join(SOURCES)}, found {self.source!r}.')
    if (self.source == 'public') != bool(self.file):
      raise ValueError(f'Expected a file with source "public" alone, found {self.file!r} and {self.source!r}.')
    if len(self.mean) != len(self.stddev) or (self.source == 'declared') > bool(self.mean):
      raise ValueError(f'Expected a mean and a stddev of each column, found {len(self.mean)} and {len(self.stddev)}.')
    if not all(0 < value < math.inf for value in self.stddev):
      raise ValueError(f'Expected each stddev > 0, found {min(self.stddev):g}.')
    if self.source == 'dp':
      mechanisms.check_promise(self.epsilon, self.delta)
      if not self.lower or len(self.lower) != len(self.upper):
        raise ValueError(f'Expected lower and upper of each column, found {len(self.lower)} and {len(self.upper)}.')
      for low, high in zip(self.lower, self.upper, strict=True):
        if not 0 < high - low < math.inf:
          raise ValueError(f'Expected each lower < upper, found {low:g} and {high:g}.')

  def load(self, folder: str) -> 'Scaling':
    """Returns the declared scaling with the figures of its file, if it has one; its path is relative to `folder`."""
    if self.mean and self.source != 'declared':
      raise ValueError(
        f'Expected a mean with source "declared" alone, found one with {self.source!r}: remove mean and stddev.'
      )
    if self.source != 'public':
      return self
    content, sha256 = public_files.read(folder, self.file, self.sha256)
    mean, stddev = _measure(self.file, content)
    return dataclasses.replace(
      self, names=tuple(mean), mean=tuple(mean.values()), stddev=tuple(stddev.values()), sha256=sha256
    )

  def check(self, columns: Sequence[str]) -> None:
    """Raises a ValueError if the scaling is not for these columns; for the `__post_init__` of a featurizer."""
    if self.names and self.names != tuple(columns):
      raise ValueError(
        f'Expected the columns {", ".join(columns)} in the file of the scaling, found {", ".join(self.names)}.'
      )
    for name in ('mean', 'lower'):
      given = getattr(self, name)
      if given and len(given) != len(columns):
        raise ValueError(f'Expected a scaling with a {name} of each of {len(columns)} columns, found {len(given)}.')

  def learner(self, columns: Sequence[str | number_columns.NumberColumn]) -> base.Learner | None:
    """Returns what learns mean and stddev of the columns of rows, or None if they are known."""
    if self.source != 'dp' or self.mean:
      return None
    return ScalingLearner(tuple(columns), self)

  def with_learned(self, value: dict[str, list[float]]) -> 'Scaling':
    """Returns the scaling with what its learner released."""
    return dataclasses.replace(self, mean=tuple(value['mean']), stddev=tuple(value['stddev']))

  def apply(self, values: np.ndarray) -> np.ndarray:
    """Returns float32 `[..., columns]`, scaled; what float32 cannot hold then is its largest number."""
    if self.source == 'none':
      return values
    if not self.mean:
      raise ValueError(f'Expected the scaling of source "{self.source}" to be known, found none: load or learn it.')
    with np.errstate(over='ignore'):
      scaled = (values - np.array(self.mean, np.float32)) / np.array(self.stddev, np.float32)
    return np.clip(scaled, -_LARGEST, _LARGEST)

  def entries(self) -> list[dict[str, Any]]:
    """Returns the manifest entries for `Featurizer.provenance`: none if it is learned, for the release has its own."""
    if self.source in ('none', 'dp'):
      return []
    origin = {'file': self.file, 'sha256': self.sha256} if self.file else {}
    figures = {'mean': list(self.mean), 'stddev': list(self.stddev)}
    return [base.free_entry('mean and standard deviation', self.source) | figures | origin]


@dataclasses.dataclass(frozen=True)
class ScalingLearner(base.Learner):
  """Learns the mean and the standard deviation of columns over users, each of whom weighs the same.

  With its declared range mapped to [-1, 1], a column gives each client the mean of its values, in [-1, 1], and the mean
  of their squares less a half, in [-1/2, 1/2]. Together with a 1 that counts the client, the L2 norm of what a client
  adds is at most `sqrt(1 + 1.25 * columns)`, however many rows it has. One Gaussian mechanism on that sum, whose noise
  `mechanisms.calibrate_gaussian` gives, pays for all of it; what follows only works on its output.

  Attributes:
    columns: Of numbers.
    scaling: What is asked for.
  """

  columns: tuple[str | number_columns.NumberColumn, ...]
  scaling: Scaling

  @property
  def cost(self) -> guarantees.Cost:
    return guarantees.Cost(self.scaling.epsilon, self.scaling.delta)

  def contribute(self, rows: rows_lib.ClientRows) -> np.ndarray:
    """Returns int64 `[1 + 2 * columns]`, in units of the grid: the clients, their means, their squares."""
    counts = np.diff(rows.starts)
    counts = counts[counts > 0]
    clients = np.repeat(np.arange(len(counts)), counts)

    def add_means(values: np.ndarray, offset: float) -> int:
      means = np.bincount(clients, values, minlength=len(counts)) / counts - offset
      # Towards zero, so that no client adds more than it may.
      return int(np.trunc(means * _GRID).astype(np.int64).sum())

    numbers = [column.read(rows.table) for column in number_columns.parse(self.columns)]
    values = [self._limit(column, place) for place, column in enumerate(np.concatenate(numbers, axis=1).T)]
    means = [add_means(column, 0.0) for column in values]
    squares = [add_means(column**2, 0.5) for column in values]
    return np.array([len(counts) * _GRID, *means, *squares], np.int64)

  def _limit(self, values: np.ndarray, place: int) -> np.ndarray:
    """Returns the values of a column with its range mapped to [-1, 1]."""
    middle, reach = self._ranges()
    limited = np.clip(values, self.scaling.lower[place], self.scaling.upper[place])
    # Once more, since a range that is tiny beside its numbers leaves rounding errors of its own size.
    return np.nan_to_num(np.clip((limited - middle[place]) / reach[place], -1.0, 1.0))

  def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = np.array(self.scaling.lower), np.array(self.scaling.upper)
    return (lower + upper) / 2, (upper - lower) / 2

  def add(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first + second

  def to_table(self, total: np.ndarray) -> pa.Table:
    return pa.table({'sum': total})

  def from_table(self, table: pa.Table) -> np.ndarray:
    return table['sum'].to_numpy()

  def release(self, total: np.ndarray | None) -> base.Release:
    asked, columns = self.scaling, len(number_columns.names(number_columns.parse(self.columns)))
    stddev = mechanisms.calibrate_gaussian(asked.epsilon, asked.delta, math.sqrt(1 + 1.25 * columns))
    sums = np.zeros(1 + 2 * columns) if total is None else total / _GRID
    noisy = mechanisms.add_noise(sums, stddev)
    clients = max(noisy[0], 1.0)
    means = np.clip(noisy[1 : 1 + columns] / clients, -1.0, 1.0)
    squares = noisy[1 + columns :] / clients + 0.5
    # What the noise alone would make of a column that never varies.
    least = min(stddev / clients, 1.0)
    spread = np.sqrt(np.clip(squares - means**2, least, 1.0))
    middle, reach = self._ranges()
    value = {'mean': (middle + reach * means).tolist(), 'stddev': (reach * spread).tolist()}
    return base.Release(value, self._entry(stddev, clients) | value)

  def _entry(self, stddev: float, clients: float) -> dict[str, Any]:
    return base.paid_entry(
      f'mean and standard deviation of {", ".join(column.column for column in number_columns.parse(self.columns))}',
      'Gaussian noise on the sums over clients of their means of limited values and of their squares',
      self.cost,
    ) | {
      'lower': list(self.scaling.lower),
      'upper': list(self.scaling.upper),
      'noise_stddev': stddev,
      'noisy_clients': clients,
    }


def _measure(name: str, content: bytes) -> tuple[dict[str, float], dict[str, float]]:
  """Returns the mean and the standard deviation of each column of a CSV, without missing values."""
  try:
    table = csv.read_csv(pa.py_buffer(content))
    columns = [column.cast(pa.float64()) for column in table.columns]
  except pa.ArrowInvalid as error:
    raise ValueError(
      f'Expected a file of numbers under a header, found another in {name} ({error}): write a line of column names, '
      'then numbers alone.'
    ) from error
  mean = {column: pc.mean(values).as_py() for column, values in zip(table.column_names, columns, strict=True)}
  stddev = {column: pc.stddev(values).as_py() for column, values in zip(table.column_names, columns, strict=True)}
  for column, value in stddev.items():
    if not value or not 0 < value < math.inf:
      raise ValueError(
        f'Expected columns of numbers that vary in the file {name}, found {column!r}: remove it from the file and '
        'from the columns to scale.'
      )
  return mean, stddev
