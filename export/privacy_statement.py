"""What a ledger promises, in one sentence: for the model card and for the metadata of the files. A leaf."""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple

from contracts import guarantees


class Statement(NamedTuple):
  """A sentence in two parts: what is promised, and to whom and of what."""

  promise: str
  terms: str

  def __str__(self) -> str:
    return self.promise + self.terms


def describe(ledger: Mapping[str, Any]) -> Statement:
  """Returns what the privacy ledger of a run promises.

  Args:
    ledger: What privacy.json says; empty if the run left none.
  """
  if not ledger:
    return Statement('No privacy guarantee', ': the run has no record of its privacy.')
  if ledger['epsilon'] is None:
    return Statement('No privacy guarantee', f': {ledger.get("no_promise") or ledger["covers"]}.')
  epsilon, delta = guarantees.format_epsilon(ledger['epsilon']), guarantees.format_delta(ledger['delta'])
  return Statement(
    f'({epsilon}, {delta})-differential privacy',
    f', unit: {ledger["unit"]}, adjacency: {ledger["adjacency"]}, sampling: {ledger["sampling"]}. Covers '
    f'{ledger["covers"]}.',
  )


def explain(ledger: Mapping[str, Any]) -> str:
  """Returns what the promise means, in a sentence for people who know no differential privacy.

  Args:
    ledger: As for `describe`.
  """
  if not ledger or ledger['epsilon'] is None:
    return 'In plain words: there is no limit to what the model may give away of the data of a single client.'
  return (
    'In plain words: whatever somebody concludes about a client from what is covered is at most '
    f'{_round_up(math.exp(ledger["epsilon"]))} times as likely as without the data of that client, apart from a chance '
    f'of {guarantees.format_delta(ledger["delta"])}. The smaller both are, the more they protect.'
  )


def _round_up(factor: float) -> str:
  if factor >= 1e6:
    return f'{factor:.1e}'
  return f'{math.ceil(factor):,}' if factor >= 10 else f'{math.ceil(100 * factor) / 100:.2f}'
