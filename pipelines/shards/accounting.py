"""Where the rows of a job went, for the manifest and for people, and whether what is left makes a data set."""

from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from contracts import guarantees
from pipelines import row_remedies
from pipelines.declarations import declaration as declarations
from pipelines.declarations import parsing
from pipelines.limits import bounds
from pipelines.readers import base as readers
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.rows import ordering
from pipelines.rows import reports

# With fewer, an epsilon of use takes more noise than most models bear.
_FEW_CLIENTS = 100

_REMEDIES = {
  readers.LINES_JOINED: 'lines within quotes, which are part of the row before them; if that is wrong, write '
  'quote = "" in [input] if quotes mean nothing there, or newlines_in_values = false',
  readers.BACKSLASHES: r'if a backslash before a quote says that the quote is text, write escape = "\\" in [input]',
}


@dataclasses.dataclass(frozen=True)
class MaxBadRows:
  """How many rows may be unusable before the job stops: a share of those read, or a number. Duplicates do not count."""

  text: str

  def __post_init__(self) -> None:
    if not re.fullmatch(r'\d+(\.\d+)?%|\d+', self.text):
      raise ValueError(f'Expected max_bad_rows to be a share such as 1% or a whole number, found {self.text!r}.')

  def of(self, rows: int) -> float:
    return rows * float(self.text[:-1]) / 100 if self.text.endswith('%') else float(self.text)


def to_json(report: reports.Report) -> dict[str, Any]:
  """Returns what the manifest says of the rows and users."""
  return {
    'rows': {
      'read': report.total(reports.READ),
      'used': report.total(reports.USED),
      'bounded': report.total(reports.BOUNDED),
      'quarantined': report.reasons(reports.QUARANTINED),
    },
    'bounded_by': report.reasons(reports.BOUNDED),
    'empty_clients': report.reasons(reports.EMPTY),
    'clients_set_aside': report.reasons(reports.SET_ASIDE),
    'notes': report.reasons(reports.NOTES),
  }


def check_splits(splits: Mapping[str, Mapping[str, int]]) -> None:
  """Raises a ValueError if no user is left to train on."""
  if not splits['train']['examples']:
    held_out = sum(splits[split]['clients'] for split in ('validation', 'test'))
    raise ValueError(f'Expected users to train on, found all {held_out:,} held out: hold out a smaller share.')


def check_before_learning(clients: Mapping[str, int], cost: guarantees.Cost) -> None:
  """Raises a ValueError if training would refuse the data set: to learn for it would spend its users' privacy in vain.

  Args:
    clients: How many clients each split has; those to train on include the ones without rows, and are public.
    cost: What learning will cost.
  """
  check_splits({split: {'clients': number, 'examples': number} for split, number in clients.items()})
  if not clients['test']:
    raise ValueError(
      f'Expected held-out users to measure on before anything is learned from users, found none beside '
      f'{clients["train"]:,} users to train on: declare a larger test_users_share, or give more users.'
    )
  if cost.delta >= 1 / clients['train']:
    raise ValueError(
      f'Expected a delta below 1 / training clients = {1 / clients["train"]:.3g} for what is learned from the users, '
      f'found {cost.delta:g}: a larger one would allow to publish a client; declare a smaller one.'
    )


def warn(splits: Mapping[str, Mapping[str, int]]) -> list[str]:
  """Returns a sentence for each thing that a data set cannot be used for, or not well."""
  return [*warn_of_refusals(splits), *warn_of_few(splits['train']['clients'], 'training clients')]


def warn_of_few(clients: int, what: str) -> list[str]:
  """Returns a sentence if so many clients are few for private training; `what` says which ones they are."""
  if not 0 < clients < _FEW_CLIENTS:
    return []
  return [
    f'Only {clients:,} {what}: delta has to be below 1 / training clients, and noise that protects one of so few '
    f'leaves little to learn. Private training takes some {_FEW_CLIENTS:,} or more.'
  ]


def warn_of_refusals(splits: Mapping[str, Mapping[str, int]]) -> list[str]:
  """Returns a sentence for each reason for which training would refuse a data set."""
  warnings = []
  if not splits['train']['examples']:
    warnings.append('No training client with examples: nothing can be learned from this data set.')
  if not splits['test']['examples']:
    warnings.append(
      'No test client: no model can be measured on this data set, and training refuses it. Declare a larger '
      'test_users_share, or give more users.'
    )
  return warnings


def describe_reasons(reasons: Mapping[str, int]) -> str:
  """Returns `reason number, ...`, or `none`."""
  return ', '.join(f'{reason} {number:,}' for reason, number in reasons.items()) or 'none'


def describe_notes(notes: Mapping[str, int]) -> list[str]:
  """Returns a line for each note, with what to do about it."""
  return [
    f'{note} {number:,}' + (f': {_REMEDIES[note]}' if note in _REMEDIES else '')
    for note, number in sorted(notes.items())
  ]


def check_rows(report: reports.Report, limit: MaxBadRows, declaration: declarations.Declaration) -> None:
  """Raises a ValueError if a file cannot be read, or too many rows are unusable."""
  read, refused = report.total(reports.READ), report.reasons(reports.QUARANTINED)
  refused.pop(bounds.DUPLICATE, None)
  bad = sum(refused.values())
  if report.problems:
    more = f' ({len(report.problems) - 1:,} more like it.)' if len(report.problems) > 1 else ''
    raise ValueError(report.problems[0] + more)
  if not read:
    raise ValueError('Expected rows in the input, found none: check the files.')
  _check_columns(report, declaration)
  _check_times(refused.get(ordering.AMBIGUOUS, 0), declaration.client)
  if bad > limit.of(read):
    raise ValueError(
      ' '.join(
        [
          f'Expected at most {limit.text} bad rows, found {bad:,} of {read:,} ({describe_reasons(refused)}): check the '
          'columns and their types, or raise --max_bad_rows: the job then counts such rows as quarantined and goes on '
          'without them.',
          *row_remedies.suggest(report, declaration),
        ]
      )
    )


def check(report: reports.Report, limit: MaxBadRows, declaration: declarations.Declaration) -> None:
  """Raises a ValueError if there is nothing to train on, too much is unusable, or a row went astray."""
  check_rows(report, limit, declaration)
  read = report.total(reports.READ)
  accounted = sum(report.total(kind) for kind in (reports.USED, reports.BOUNDED, reports.QUARANTINED))
  if accounted != read:
    raise ValueError(
      f'Expected to account for all {read:,} rows, found {accounted:,}: did anything else write to the output_dir? '
      'Run it again.'
    )
  if not report.total(reports.USED):
    found = {**report.reasons(reports.QUARANTINED), **report.reasons(reports.BOUNDED)}
    raise ValueError(
      f'Expected at least one user with {declaration.limits.min_examples_per_client} examples, found none in '
      f'{read:,} rows ({describe_reasons(found)}): check the columns and limits.'
    )


def _check_times(ambiguous: int, client: declarations.Client) -> None:
  """Raises a ValueError if any time can be read in two ways: without such rows, whole days would be missing."""
  if ambiguous:
    raise ValueError(
      f'Expected times that can be read in one way only, found {ambiguous:,} such as 05/06/2015 or 20150605 in '
      f'{client.order!r}: write order_format in [client], such as "%d/%m/%Y", "%m/%d/%Y %I:%M %p" or "%Y%m%d".'
    )


def _check_columns(report: reports.Report, declaration: declarations.Declaration) -> None:
  """Raises a ValueError if no row has one of the columns, of a format whose files do not list them."""
  found = list(report.reasons(reports.NAMES))
  for column in fingerprints.without(parsing.raw_columns(declaration)):
    if found and column not in found:
      raise ValueError(lookup.describe_missing(column, 'the rows', found))
