"""What is learned from the users' data before there are examples: with differential privacy, and on the record."""

import abc
from typing import Any, NamedTuple

from pipelines.rows import rows as rows_lib


class Release(NamedTuple):
  """What was learned and what it cost.

  Attributes:
    value: For `Featurizer.with_learned`; JSON-ready.
    entry: For the manifest's `learned`: `what`, `source` ('dp', or 'declared' and 'public' where nothing was learned),
      `mechanism`, `epsilon`, `delta`, `unit`, and whatever else the accounting rests on.
  """

  value: Any
  entry: dict[str, Any]


class Learner(abc.ABC):
  """Learns one thing from all training users, in three steps that Beam spreads over workers.

  Whole clients are the unit: `contribute` bounds what one client adds, however many rows it has.
  """

  @abc.abstractmethod
  def contribute(self, rows: rows_lib.ClientRows) -> Any:
    """Returns the sum of what these clients, all of them training users, add."""

  @abc.abstractmethod
  def add(self, first: Any, second: Any) -> Any:
    """Returns the sum of two sums."""

  @abc.abstractmethod
  def release(self, total: Any) -> Release:
    """Adds noise to the sum over all clients (None if there are none) and returns what may be seen of it."""


def free_entry(what: str, source: str) -> dict[str, Any]:
  """Returns the manifest entry of what is declared or public, and so was not learned from users."""
  return {'what': what, 'source': source, 'mechanism': 'none', 'epsilon': 0.0, 'delta': 0.0}
