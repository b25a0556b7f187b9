"""What is learned from the users' data before there are examples: with differential privacy, and on the record."""

import abc
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from contracts import guarantees
from pipelines.rows import rows as rows_lib

_SOURCES = ('declared', 'public', 'dp')


class Release(NamedTuple):
  """What was learned and what it cost.

  Attributes:
    value: For `Featurizer.with_learned`; JSON-ready. Of no use if there is a problem.
    entry: For the manifest's `learned`: `what`, `source` ('dp', or 'declared' and 'public' where nothing was learned),
      `mechanism`, `epsilon`, `delta`, `unit`, `adjacency`, and whatever else the accounting rests on: see
      `check_entry`.
    problem: What makes a data set impossible, one line for the user; empty if nothing does. It is no exception, for
      runners try again what raised one, and every try draws new noise and has its price.
  """

  value: Any
  entry: dict[str, Any]
  problem: str = ''


class Learner(abc.ABC):
  """Learns one thing from all training users, in three steps that Beam spreads over workers.

  Whole clients are the unit: `contribute` bounds what one client adds, however many rows it has.
  """

  @property
  @abc.abstractmethod
  def cost(self) -> guarantees.Cost:
    """What it will have cost, whatever is released."""

  @abc.abstractmethod
  def contribute(self, rows: rows_lib.ClientRows) -> Any:
    """Returns the sum of what these clients, all of them training users, add."""

  @abc.abstractmethod
  def add(self, first: Any, second: Any) -> Any:
    """Returns the sum of two sums."""

  def to_table(self, total: Any) -> pa.Table:
    """Returns a sum as the table that it is written to a file as; to be overridden if a sum is no table."""
    return total

  def from_table(self, table: pa.Table) -> Any:
    """Returns the sum that `to_table` made a table of."""
    return table

  @abc.abstractmethod
  def release(self, total: Any) -> Release:
    """Adds noise to the sum over all clients (None if there are none) and returns what may be seen of it.

    What the noisy sum is not enough for is a `problem`, and is not raised.
    """


def write_total(learner: Learner, total: Any, file: BinaryIO) -> None:
  """Writes the sum over all clients, or None, as an Arrow file: reading it runs no code, whoever wrote it."""
  table = pa.table({}) if total is None else learner.to_table(total)
  with pa.ipc.new_file(file, table.schema) as writer:
    writer.write_table(table)


def read_total(learner: Learner, file: pa.NativeFile) -> Any:
  """Returns what `write_total` wrote."""
  table = pa.ipc.open_file(file).read_all()
  return learner.from_table(table) if table.num_columns else None


def paid_entry(what: str, mechanism: str, cost: guarantees.Cost) -> dict[str, Any]:
  """Returns the manifest entry of what was learned from users with differential privacy."""
  terms = {'unit': guarantees.UNIT, 'adjacency': guarantees.ADJACENCY}
  return {'what': what, 'source': 'dp', 'mechanism': mechanism, **cost._asdict(), **terms}


def free_entry(what: str, source: str) -> dict[str, Any]:
  """Returns the manifest entry of what is declared or public, and so was not learned from users."""
  return {'what': what, 'source': source, 'mechanism': 'none', 'epsilon': 0.0, 'delta': 0.0}


def check_entry(entry: Mapping[str, Any]) -> None:
  """Raises a ValueError unless the entry says what was learned, and at which price, as training counts it."""
  what, source = entry.get('what'), entry.get('source')
  if not isinstance(what, str) or source not in _SOURCES:
    raise ValueError(
      f'Expected what was learned and a source of {", ".join(_SOURCES)}, found {what!r} and {source!r}: correct '
      'the entry of the release.'
    )
  if source != 'dp':
    return
  guarantees.read_cost(entry, 'correct the learner')
  if not isinstance(entry.get('mechanism'), str):
    raise ValueError(f'Expected the mechanism that {what!r} was learned with, found none: correct the learner.')
