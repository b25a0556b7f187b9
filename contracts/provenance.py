"""What the data set was made with: vocabularies and scalings that were learned from the users, and their price."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts import guarantees

# Where what a data set rests on comes from, as its manifest says: 'dp' is learned from users, and paid for.
_SOURCES = {
  'declared': 'declared, not learned from data',
  'public': 'computed from public data',
  'dp': '',
  'simulated': 'rows that name no user, split at random',
}


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


def price(entry: Mapping[str, Any]) -> guarantees.Cost:
  """Returns what an entry of the manifest's `learned` costs.

  Raises:
    ValueError: If the entry says nothing of its cost, or what it says cannot be added to the cost of training.
  """
  source = entry.get('source')
  if source not in _SOURCES:
    raise ValueError(
      f'Expected what the data set was made with to be {", ".join(_SOURCES)}, found {entry.get("what")!r} from '
      f'{source!r}: whatever it cost the users is not known; preprocess without it.'
    )
  return guarantees.read_cost(entry, 'preprocess again') if source == 'dp' else guarantees.NOTHING


def total(entries: Sequence[Mapping[str, Any]]) -> guarantees.Cost:
  """Returns what all entries cost together, by basic composition: epsilons add up, and so do deltas."""
  costs = [price(entry) for entry in entries]
  return guarantees.Cost(sum(cost.epsilon for cost in costs), sum(cost.delta for cost in costs))


def names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns what was learned from users."""
  return [entry['what'] for entry in entries if entry['source'] == 'dp']


def simulated_clients(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns what the clients are if they were simulated, so that no person is behind one; else nothing."""
  return next((entry['what'] for entry in entries if entry['source'] == 'simulated'), '')


def releases(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Returns the entries as the ledger lists releases."""
  return [
    {
      'what': entry['what'],
      'mechanism': _SOURCES[entry['source']] or entry['mechanism'],
      'private': True,
      **price(entry)._asdict(),
    }
    for entry in entries
  ]
