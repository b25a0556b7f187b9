"""How the accuracy of a model differs between held-out users and between classes. For the operator only.

An export writes them into the run directory, where the report reads them. They are exact figures of clients' data:
nothing covers them. What a model card shows of them, if its exporter accepts that, omits figures from few users, and
those from which an omitted one could be worked out.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import math
import os
import statistics
from typing import NamedTuple, TypeVar

from common import files
from common import sealed_json
from contracts import formats
from contracts import run_directory

FILE_NAME = f'{run_directory.OPERATOR}/held_out.json'
# A figure of fewer users than these is not published. It is no guarantee.
FEW = 5
# The users with the lowest accuracy are one in so many.
_DECILE = 10
# Of fewer answers a user, the accuracies of users differ by chance.
_FEWEST_ANSWERS = 20
_WIDTHS = (0.01, 0.02, 0.05, 0.1)
# Of bins that are published: a width that follows the users would give away the best and the worst one.
_PUBLISHED_WIDTH = 0.1
_MOST_BINS = 12
_SHOWN = 16
_FORM = {
  'model': str,
  'positions': int,
  'accuracies': [(float, int)],
  'classes': [[int]],
  'cells': [[int]],
  'names': {str: str},
  'matrix_size': int,
  'held_out': int,
  'is_sample': bool,
}


class Class(NamedTuple):
  """A true answer.

  Attributes:
    label: Its class.
    times: How often it was the true answer.
    right: How often the model gave it then.
    clients: How many users have it as a true answer.
    right_clients: For how many of them the model gave it.
    wrong_clients: For how many of them the model gave another one.
  """

  label: int
  times: int
  right: int
  clients: int
  right_clients: int
  wrong_clients: int

  def shows_right(self, least: int) -> bool:
    """Returns whether neither the right answers nor the wrong ones are of fewer than `least` users, but of some."""
    parts = ((self.right, self.right_clients), (self.times - self.right, self.wrong_clients))
    return all(clients >= least for times, clients in parts if times)


class Cell(NamedTuple):
  """A true answer and one that the model gave: how often, and of how many users."""

  label: int
  answer: int
  times: int
  clients: int


_Part = TypeVar('_Part', Class, Cell)


class Bin(NamedTuple):
  """So many users have an accuracy from `start` on and below `stop` (1 belongs to the last one)."""

  start: float
  stop: float
  clients: int


@dataclasses.dataclass(frozen=True)
class Figures:
  """What was measured on held-out users.

  Attributes:
    model: The digest of the released model.
    positions: How many answers were asked for.
    accuracies: Of each user, in ascending order.
    classes: The most frequent true answers, the most frequent first.
    cells: The most frequent pairs of a true answer and one that was given, equal ones included, likewise.
    names: Of the classes in them, by their numbers as text.
    matrix_size: How many classes there are, if they are few enough for a confusion matrix; else 0.
    held_out: How many held-out users have examples; some of them may have no answer among those that were measured.
    is_sample: Whether only some of their examples were measured.
  """

  model: str
  positions: int
  accuracies: Sequence[float]
  classes: Sequence[Class]
  cells: Sequence[Cell]
  names: Mapping[str, str]
  matrix_size: int = 0
  held_out: int = 0
  is_sample: bool = False

  @property
  def clients(self) -> int:
    """How many users were measured."""
    return len(self.accuracies)

  @property
  def has_spread(self) -> bool:
    """Whether there are enough answers a user to say how accuracy differs between users."""
    return self.positions >= _FEWEST_ANSWERS * self.clients

  def describe(self, least: int = 1) -> str:
    """Returns how accuracy differs between users, in a sentence.

    Args:
      least: A figure of fewer users is omitted.
    """
    if self.clients < least:
      return f'There are fewer than {least} held-out users: nothing is shown of them.'
    each = f'{"a sample of " if self.is_sample else ""}about {self.positions / self.clients:,.0f} answers each'
    text = f'Over {self._count_users()} held-out users, on {each}, accuracy is {statistics.fmean(self.accuracies):.1%}'
    if not self.has_spread:
      return (
        f'{text} as a mean. How it differs between users is not shown: of fewer than {_FEWEST_ANSWERS} answers a user, '
        'it would be chance.'
      )
    # A median may be the accuracy of one user.
    middle = f' and {statistics.median(self.accuracies):.1%} for the median user' if least == 1 else ''
    lowest = self.accuracies[: -(-self.clients // _DECILE)]
    tenth = statistics.fmean(lowest)
    text += f' as a mean{middle}'
    if len(lowest) < least:
      return f'{text}.'
    return f'{text}; for the tenth of the users with the lowest accuracy it is {tenth:.1%}.'

  def _count_users(self) -> str:
    return f'{self.clients:,}' if self.clients >= self.held_out else f'{self.clients:,} of {self.held_out:,}'

  def count_by_accuracy(self, least: int = 1) -> list[Bin]:
    """Returns how many users have which accuracy; nothing if each has too few answers for that.

    Args:
      least: A bin of fewer users is omitted. If that leaves fewer users without a bin, one more is omitted.
    """
    if not self.has_spread:
      return []
    span = self.accuracies[-1] - self.accuracies[0]
    width = next((width for width in _WIDTHS if span <= (_MOST_BINS - 1) * width), _WIDTHS[-1])
    if least > 1:
      width = _PUBLISHED_WIDTH
    last = round(1 / width) - 1
    # So that rounding does not move an accuracy of 0.3 into the bin before.
    indices = [min(last, math.floor(accuracy / width + 1e-9)) for accuracy in self.accuracies]
    bins = [
      Bin(index * width, (index + 1) * width, indices.count(index)) for index in range(indices[0], indices[-1] + 1)
    ]
    shown = [each for each in bins if each.clients >= least]
    if 0 < self.clients - sum(each.clients for each in shown) < least and shown:
      shown.remove(min(shown, key=lambda each: each.clients))
    return shown

  def name(self, label: int) -> str:
    """Returns how a class is shown: characters without a glyph as an escape sequence, a long name shortened."""
    name = self.names[str(label)]
    shown = name if name.isprintable() and name.strip() else repr(name)[1:-1].replace(' ', '␣')
    return shown if len(shown) <= _SHOWN else f'{shown[: _SHOWN - 1]}…'

  def list_confusions(self, least: int = 1, limit: int = 10) -> list[tuple[Cell, float]]:
    """Returns the most frequent wrong answers, each with its share of the times when that was the true answer."""
    wrong = [(cell, share) for cell, share in self._list_cells(least) if cell.label != cell.answer]
    return sorted(wrong, key=lambda found: -found[0].times)[:limit]

  def list_classes(self, least: int = 1) -> list[Class]:
    """Returns the most frequent true answers, without those of fewer than `least` users; see `_omit`."""
    return _omit(self.classes, self.positions, least)

  def find_right(self, least: int = 1) -> set[int]:
    """Returns the classes of which may be shown how often the model gives them rightly; see `_omit`.

    The accuracy over all classes is published, so one that is omitted alone could be worked out.
    """
    shown = _omit([each for each in self.list_classes(least) if each.shows_right(least)], self.positions, least)
    return {each.label for each in shown}

  def to_matrix(self, least: int = 1) -> list[list[float]]:
    """Returns of each true answer, a row, the share of each answer; NaN where nothing is shown."""
    matrix = [[math.nan] * self.matrix_size for _ in range(self.matrix_size)]
    for cell, share in self._list_cells(least):
      matrix[cell.label][cell.answer] = share
    return matrix

  def _list_cells(self, least: int) -> Iterator[tuple[Cell, float]]:
    """Yields the cells that may be shown, each with its share of the times when its label was the true answer."""
    rows = dict[int, list[Cell]]()
    for cell in self.cells:
      rows.setdefault(cell.label, []).append(cell)
    with_right = self.find_right(least)
    for each in self.list_classes(least):
      row = rows.get(each.label, [])
      right = [cell for cell in row if cell.answer == each.label] if each.label in with_right else []
      rest = each.times - each.right if each.label in with_right else each.times
      wrong = _omit([cell for cell in row if cell.answer != each.label], rest, least)
      yield from ((cell, cell.times / each.times) for cell in (*right, *wrong))


def _omit(parts: Sequence[_Part], total: int, least: int) -> list[_Part]:
  """Returns the parts of at least `least` users; if some are omitted, without the least frequent of these, too.

  Otherwise the omitted part would be the total without the others.

  Args:
    parts: The most frequent first.
    total: How often they all occur together, with those that are not listed.
    least: How many users a part has to be of.
  """
  shown = [each for each in parts if each.clients >= least]
  return shown if least == 1 or sum(each.times for each in shown) == total else shown[:-1]


def write(run_dir: str, figures: Figures) -> None:
  """Writes the figures into a run directory, whole or not at all.

  Raises:
    OSError: If it cannot be written.
  """
  content = {formats.KEY: formats.HELD_OUT, **dataclasses.asdict(figures)}
  files.write_atomically(os.path.join(run_dir, FILE_NAME), sealed_json.dumps(content))


def read(run_dir: str, model: str | None) -> Figures | None:
  """Returns the figures in a run directory; None if there are none, or they are of another model.

  Args:
    run_dir: The run directory.
    model: The digest of its released model.

  Raises:
    ValueError: If the file is damaged.
  """
  path = os.path.join(run_dir, FILE_NAME)
  try:
    with open(path, 'rb') as file:
      content = sealed_json.loads(file.read(), _FORM)
    formats.check(content, formats.HELD_OUT)
    classes = [Class(*each) for each in content['classes']]
    cells = [Cell(*each) for each in content['cells']]
  except FileNotFoundError:
    return None
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'Expected figures of held-out users in {path}, found {error}: delete the file and export again.'
    ) from error
  if content['model'] != model or not content['accuracies']:
    return None
  return Figures(
    content['model'],
    content['positions'],
    content['accuracies'],
    classes,
    cells,
    content['names'],
    content['matrix_size'],
    content['held_out'],
    content['is_sample'],
  )


def describe_omitted(figures: Figures) -> str:
  """Returns how many users are in no bin that is published, in a sentence; empty if all are in one."""
  omitted = figures.clients - sum(each.clients for each in figures.count_by_accuracy(FEW))
  if not omitted or not figures.has_spread:
    return ''
  return (
    f'Bins of {omitted:,} users are omitted: those of fewer than {FEW}, and one more where these could be worked out.'
  )
