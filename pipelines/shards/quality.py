"""What is likely to go wrong in training on a data set, seen in counts over its examples: warnings with the remedy."""

from collections.abc import Iterator

from pipelines.declarations import declaration as declarations
from pipelines.rows import reports

# Reasons of `reports.OBSERVED`, which is counted for this alone.
POSITIONS, ROWS = 'positions', 'rows'
OUTSIDE_VOCABULARY = 'outside_vocabulary'
_UNSCALED, _LABEL = 'unscaled:', 'label:'

_MOST_UNKNOWN = 0.05
# Of a column whose numbers are far from 1, so many rows are more than an exception.
_MOST_UNSCALED = 0.5
# A class of which so much is in the tail can hardly be learned.
_MOST_IN_TAIL = 0.9
_CLASSES_SHOWN = 5


def unscaled(column: str) -> str:
  """Returns the reason under which rows are counted whose number in a column is far from 1 and not scaled."""
  return f'{_UNSCALED}{column}'


def label(split: str, place: int) -> str:
  """Returns the reason under which the examples of a class in a split are counted."""
  return f'{_LABEL}{split}:{place}'


def warn(report: reports.Report, declaration: declarations.Declaration) -> list[str]:
  """Returns a line for each thing that is likely to go wrong.

  Args:
    report: On all examples.
    declaration: What they were made with; what is learned is filled in.
  """
  observed = report.reasons(reports.OBSERVED)
  return [
    *_warn_of_unknown(report.reasons(reports.NOTES), observed, declaration),
    *_warn_of_tail(observed, declaration),
    *_warn_of_one_class(observed, declaration),
    *_warn_of_numbers(observed),
  ]


def _warn_of_unknown(
  notes: dict[str, int], observed: dict[str, int], declaration: declarations.Declaration
) -> Iterator[str]:
  vocabulary = declaration.featurizer.vocabulary_in_use
  unknown, positions = notes.get(OUTSIDE_VOCABULARY, 0), observed.get(POSITIONS, 0)
  if vocabulary and unknown and unknown >= _MOST_UNKNOWN * positions:
    yield (
      f'{unknown / positions:.1%} of the {vocabulary.UNIT} are outside of the {vocabulary.NAME}: the model cannot '
      f'tell them apart and never answers with them. {vocabulary.remedy()}'
    )


def _warn_of_tail(observed: dict[str, int], declaration: declarations.Declaration) -> Iterator[str]:
  counts: dict[str, dict[int, int]] = {}
  for reason, number in observed.items():
    if reason.startswith(_LABEL):
      _, split, place = reason.split(':')
      counts.setdefault(split, {})[int(place)] = number
  train = counts.get('train', {})
  lost = {
    place: number
    for place, number in counts.get('tail', {}).items()
    if number >= _MOST_IN_TAIL * (number + train.get(place, 0))
  }
  if not lost:
    return
  classes = declaration.featurizer.schema.classes
  most = sorted(lost, key=lambda place: (-lost[place], place))
  named = [f'{classes[place]!r} ({lost[place]:,} of {lost[place] + train.get(place, 0):,})' for place in most]
  more = f' and {len(named) - _CLASSES_SHOWN} more' if len(named) > _CLASSES_SHOWN else ''
  remedy = 'Write tail = "random" in [splits], or tail_share = 0.'
  if declaration.featurizer.examples_overlap:
    remedy = 'Write tail_share = 0 in [splits], or a stride of at least the length and tail = "random".'
  elif declaration.splits.tail == 'random':
    remedy = 'Write a smaller tail_share in [splits].'
  yield (
    f'The held-out tail has all or most examples of {", ".join(named[:_CLASSES_SHOWN])}{more}, and training learns '
    f'little or nothing of them. {remedy}'
  )


def _warn_of_one_class(observed: dict[str, int], declaration: declarations.Declaration) -> Iterator[str]:
  found = {int(reason.split(':')[2]) for reason in observed if reason.startswith(_LABEL)}
  if len(found) == 1:
    yield (
      f'All examples are of one class, {declaration.featurizer.schema.classes[found.pop()]!r}: there is nothing to '
      'learn. Check the column of the label and its classes.'
    )


def _warn_of_numbers(observed: dict[str, int]) -> Iterator[str]:
  counted = {reason: number for reason, number in observed.items() if reason.startswith(_UNSCALED)}
  far = [
    reason.removeprefix(_UNSCALED) for reason, number in counted.items() if number > _MOST_UNSCALED * observed[ROWS]
  ]
  if far:
    yield (
      f'The numbers in {", ".join(map(repr, far))} are far from 1 in size and not scaled, which makes training slow '
      'or impossible. Add [examples.scaling] with source = "declared" and the mean and stddev of each column, '
      '"public" or "dp".'
    )
