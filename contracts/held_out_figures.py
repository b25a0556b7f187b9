"""How the accuracy of a model differs between held-out users and between classes. For the operator only.

An export writes them into the run directory, where the report reads them. They are exact figures of clients' data:
nothing covers them. What a model card shows of them, if its exporter accepts that, leaves out what is of few users.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import os
import statistics
from typing import NamedTuple

from common import files
from common import sealed_json
from contracts import formats
from contracts import run_directory

FILE_NAME = f'{run_directory.OPERATOR}/held_out.json'
# A figure of fewer users than these is not published. It is no guarantee.
FEW = 5
# The users with the lowest accuracy are one in so many.
_DECILE = 10
_WIDTHS = (0.01, 0.02, 0.05, 0.1)
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
}


class Class(NamedTuple):
  """A true answer: its class, how often it was the answer, how often the model gave it then, and by how many users."""

  label: int
  times: int
  right: int
  clients: int


class Cell(NamedTuple):
  """A true answer and one that the model gave: how often, and of how many users."""

  label: int
  answer: int
  times: int
  clients: int


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
  """

  model: str
  positions: int
  accuracies: Sequence[float]
  classes: Sequence[Class]
  cells: Sequence[Cell]
  names: Mapping[str, str]
  matrix_size: int = 0

  @property
  def clients(self) -> int:
    """How many users were measured."""
    return len(self.accuracies)

  def describe(self, least: int = 1) -> str:
    """Returns how accuracy differs between users, in a sentence.

    Args:
      least: A figure of fewer users is left out.
    """
    if self.clients < least:
      return f'There are fewer than {least} held-out users: nothing is shown of them.'
    mean, median = statistics.fmean(self.accuracies), statistics.median(self.accuracies)
    lowest = self.accuracies[: -(-self.clients // _DECILE)]
    text = (
      f'Over {self.clients:,} held-out users, accuracy is {mean:.1%} as a mean and {median:.1%} for the median user'
    )
    if len(lowest) < least:
      return f'{text}.'
    return f'{text}; for the tenth of the users with the lowest accuracy it is {statistics.fmean(lowest):.1%}.'

  def count_by_accuracy(self, least: int = 1) -> list[Bin]:
    """Returns how many users have which accuracy, without bins of fewer than `least` users."""
    span = self.accuracies[-1] - self.accuracies[0]
    width = next((width for width in _WIDTHS if span <= (_MOST_BINS - 1) * width), _WIDTHS[-1])
    last = round(1 / width) - 1
    # So that rounding does not move an accuracy of 0.3 into the bin before.
    places = [min(last, math.floor(accuracy / width + 1e-9)) for accuracy in self.accuracies]
    bins = [Bin(place * width, (place + 1) * width, places.count(place)) for place in range(places[0], places[-1] + 1)]
    return [each for each in bins if each.clients >= least]

  def name(self, label: int) -> str:
    """Returns how a class is shown: characters without a glyph as an escape sequence, a long name shortened."""
    name = self.names[str(label)]
    shown = name if name.isprintable() and name.strip() else repr(name)[1:-1].replace(' ', '␣')
    return shown if len(shown) <= _SHOWN else f'{shown[: _SHOWN - 1]}…'

  def list_confusions(self, least: int = 1, limit: int = 10) -> list[tuple[Cell, float]]:
    """Returns the most frequent wrong answers, each with its share of the times when that was the true answer."""
    totals = {each.label: each for each in self.list_classes(least)}
    wrong = [
      cell for cell in self.cells if cell.label != cell.answer and cell.clients >= least and cell.label in totals
    ]
    return [(cell, cell.times / totals[cell.label].times) for cell in wrong[:limit]]

  def list_classes(self, least: int = 1) -> list[Class]:
    """Returns the most frequent true answers, without those of fewer than `least` users."""
    return [each for each in self.classes if each.clients >= least]

  def to_matrix(self, least: int = 1) -> list[list[float]]:
    """Returns of each true answer, a row, the share of each answer; NaN where nothing is shown."""
    matrix = [[math.nan] * self.matrix_size for _ in range(self.matrix_size)]
    totals = {each.label: each.times for each in self.list_classes(least)}
    for cell in self.cells:
      if cell.clients >= least and cell.label in totals:
        matrix[cell.label][cell.answer] = cell.times / totals[cell.label]
    return matrix


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
  )


def describe_withheld(figures: Figures) -> str:
  """Returns which users are not shown where bins of few are withheld, in a sentence; empty if all are shown."""
  hidden = figures.clients - sum(each.clients for each in figures.count_by_accuracy(FEW))
  return f'{hidden:,} users in bins of fewer than {FEW} are not shown.' if hidden else ''
