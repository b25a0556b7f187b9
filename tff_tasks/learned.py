"""What the data set was made with: vocabularies and scalings that were learned from the users, and their price."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple, TypeGuard

# What the epsilon of training is about: otherwise the two could not be added.
_UNIT, _ADJACENCY = 'client', 'one client added or removed'
# Where what a data set rests on comes from, as its manifest says: 'dp' is learned from users, and paid for.
_SOURCES = {'declared': 'declared, not learned from data', 'public': 'computed from public data', 'dp': ''}


class Cost(NamedTuple):
  """An (epsilon, delta)."""

  epsilon: float = 0.0
  delta: float = 0.0


NOTHING = Cost()


def read(manifest: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
  """Returns the entries of a manifest's `learned`.

  Args:
    manifest: Of a data set.
    path: Of the data set, for the message.

  Raises:
    ValueError: If it has none: not even that nothing was learned.
  """
  entries = manifest.get('learned')
  if not isinstance(entries, list):
    raise ValueError(
        f'Expected the manifest of {path} to say what was learned from its users, found nothing: what it cost them is '
        'not known; preprocess again.'
    )
  return entries


def price(entry: Mapping[str, Any], sampling: str) -> Cost:
  """Returns what an entry of the manifest's `learned` costs between the neighbours of a plan with that sampling.

  Entries are about one client added or removed. To replace a client is to remove one and to add another, so that
  P <= exp(epsilon) (exp(epsilon) P' + delta) + delta, which is (2 epsilon, (1 + exp(epsilon)) delta).

  Raises:
    ValueError: If the entry says nothing of its price, or what it says is no price between such neighbours.
  """
  source = entry.get('source')
  if source not in _SOURCES:
    raise ValueError(
        f'Expected what the data set was made with to be {", ".join(_SOURCES)}, found {entry.get("what")!r} from '
        f'{source!r}: whatever it cost the users is not known; preprocess without it.'
    )
  if source != 'dp':
    return NOTHING
  epsilon, delta = _read_price(entry)
  return Cost(epsilon, delta) if sampling == 'poisson' else Cost(2 * epsilon, (1 + math.exp(epsilon)) * delta)


def _read_price(entry: Mapping[str, Any]) -> Cost:
  what, unit, adjacency = (entry.get(key) for key in ('what', 'unit', 'adjacency'))
  if (unit, adjacency) != (_UNIT, _ADJACENCY):
    raise ValueError(
        f'Expected the price of {what!r} for {_UNIT!r} and {_ADJACENCY!r}, found it for {unit!r} and {adjacency!r}: it '
        'cannot be added to that of training; preprocess again.'
    )
  epsilon, delta = entry.get('epsilon'), entry.get('delta')
  if not (_is_number(epsilon) and _is_number(delta) and epsilon >= 0 and 0 <= delta < 1):
    raise ValueError(
        f'Expected a finite epsilon >= 0 and 0 <= delta < 1 as the price of {what!r}, found {epsilon!r} and {delta!r}: '
        'preprocess again.'
    )
  return Cost(epsilon, delta)


def _is_number(value: Any) -> TypeGuard[float]:
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def total(entries: Sequence[Mapping[str, Any]], sampling: str) -> Cost:
  """Returns what all entries cost together, by basic composition: epsilons add up, and so do deltas."""
  costs = [price(entry, sampling) for entry in entries]
  return Cost(sum(cost.epsilon for cost in costs), sum(cost.delta for cost in costs))


def names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns what was learned from users."""
  return [entry['what'] for entry in entries if entry['source'] == 'dp']


def releases(entries: Sequence[Mapping[str, Any]], sampling: str) -> list[dict[str, Any]]:
  """Returns the entries as the ledger lists releases."""
  return [
      {
          'what': entry['what'],
          'mechanism': _SOURCES[entry['source']] or entry['mechanism'],
          'private': True,
          **price(entry, sampling)._asdict(),
      }
      for entry in entries
  ]
