"""What the data set was made with: vocabularies and scalings that were learned from the users, and their price."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

# Where what a data set rests on comes from, as its manifest says: 'dp' is learned from users, and paid for.
_SOURCES = {'declared': 'declared, not learned from data', 'public': 'computed from public data', 'dp': ''}


class Cost(NamedTuple):
  """An (epsilon, delta)."""

  epsilon: float = 0.0
  delta: float = 0.0


NOTHING = Cost()


def price(entry: Mapping[str, Any], sampling: str) -> Cost:
  """Returns what an entry of the manifest's `learned` costs between the neighbours of a plan with that sampling.

  Entries are about one client added or removed. To replace a client is to remove one and to add another, so that
  P <= exp(epsilon) (exp(epsilon) P' + delta) + delta, which is (2 epsilon, (1 + exp(epsilon)) delta).

  Raises:
    ValueError: If the entry says nothing of its price.
  """
  source = entry.get('source')
  if source not in _SOURCES:
    raise ValueError(
        f'Expected what the data set was made with to be {", ".join(_SOURCES)}, found {entry.get("what")!r} from '
        f'{source!r}: whatever it cost the users is not known; preprocess without it.'
    )
  if source != 'dp':
    return NOTHING
  epsilon, delta = entry['epsilon'], entry['delta']
  return Cost(epsilon, delta) if sampling == 'poisson' else Cost(2 * epsilon, (1 + math.exp(epsilon)) * delta)


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
