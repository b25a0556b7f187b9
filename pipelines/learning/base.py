"""What is learned from the users' data before there are examples: with differential privacy, and on the record."""

import abc
from collections.abc import Mapping
import math
from typing import Any, NamedTuple, TypeGuard

from pipelines.rows import rows as rows_lib

# What an epsilon is about, here and in training: otherwise the two could not be added.
_UNIT, _ADJACENCY = 'client', 'one client added or removed'
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

  @abc.abstractmethod
  def contribute(self, rows: rows_lib.ClientRows) -> Any:
    """Returns the sum of what these clients, all of them training users, add."""

  @abc.abstractmethod
  def add(self, first: Any, second: Any) -> Any:
    """Returns the sum of two sums."""

  @abc.abstractmethod
  def release(self, total: Any) -> Release:
    """Adds noise to the sum over all clients (None if there are none) and returns what may be seen of it.

    What the noisy sum is not enough for is a `problem`, and is not raised.
    """


def free_entry(what: str, source: str) -> dict[str, Any]:
  """Returns the manifest entry of what is declared or public, and so was not learned from users."""
  return {'what': what, 'source': source, 'mechanism': 'none', 'epsilon': 0.0, 'delta': 0.0}


def check_entry(entry: Mapping[str, Any]) -> None:
  """Raises a ValueError unless the entry says what was learned, and at which price, as training counts it."""
  what, source = entry.get('what'), entry.get('source')
  if not isinstance(what, str) or source not in _SOURCES:
    raise ValueError(
        f'Expected what was learned and a source of {", ".join(_SOURCES)}, found {what!r} and {source!r}: mend the '
        'entry of the release.'
    )
  if source != 'dp':
    return
  if (entry.get('unit'), entry.get('adjacency')) != (_UNIT, _ADJACENCY):
    raise ValueError(
        f'Expected a promise about {_UNIT!r} and {_ADJACENCY!r} for {what!r}, found {entry.get("unit")!r} and '
        f'{entry.get("adjacency")!r}: mend the learner.'
    )
  epsilon, delta = entry.get('epsilon'), entry.get('delta')
  if not _is_number(epsilon) or not _is_number(delta) or epsilon < 0 or not 0 <= delta < 1:
    raise ValueError(
        f'Expected a finite epsilon >= 0 and 0 <= delta < 1 for {what!r}, found {epsilon!r} and {delta!r}: mend the '
        'learner.'
    )
  if not isinstance(entry.get('mechanism'), str):
    raise ValueError(f'Expected the mechanism that {what!r} was learned with, found none: mend the learner.')


def _is_number(value: Any) -> TypeGuard[float]:
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
