"""What an export itself releases of clients' data, beside the model of the run. In rows for the model card."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts import guarantees
from contracts import held_out_figures


class Release(NamedTuple):
  """What is released, and how; nothing of it is private."""

  what: str
  mechanism: str


def list_here(parity: Mapping[str, Any], ledger: Mapping[str, Any]) -> list[Release]:
  """Returns what the export released and the ledger of the run does not list.

  Args:
    parity: What parity.json says.
    ledger: The privacy ledger of the run; empty if it left none.
  """
  listed = {each['what'] for each in ledger.get('releases', [])}
  found = [Release(what, guarantees.PUBLISHED) for what in guarantees.EXPORTED if what not in listed]
  if parity.get('calibration', {}).get('kind') == 'released':
    what = "what files learned from clients' examples, and how many examples of how many clients there are"
    found.append(Release(what, 'without noise'))
  if 'published_figures' in parity:
    found.append(
      Release(
        'numbers of clients and examples of each split, accuracy by held-out user, and which answers are taken for '
        'which',
        f'exact, in this card; figures from fewer than {held_out_figures.FEW} users are omitted',
      )
    )
  return found
