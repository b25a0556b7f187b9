"""What fine-tuning gives single users: a row for each, and the figures of all of them. For the operator only.

`run.json` has the figures under `FIGURES`, with the hash of the file that has the rows.
"""

from collections.abc import Iterable, Mapping, Sequence
import csv
import hashlib
import io
import math
import os
from typing import Any, NamedTuple

from common import files
from common import sealed_json
from contracts import run_directory

# The key of the figures in run.json.
FIGURES = 'personalization'
# What became of a user: measured before and after; without two examples, or without an answer to measure on; with
# weights or a loss that are not finite after fine-tuning.
MEASURED, NOT_MEASURED, DIVERGED = OUTCOMES = ('measured', 'not_measured', 'diverged')

_MOST_NAMED = 3
# The users with the lowest accuracy are one in so many.
_DECILE = 10
_FLOAT = (float, int, type(None))
_FORM = {
  'epochs': int,
  'learning_rate': (float, int),
  'batch_size': int,
  'split': str,
  'is_ordered': bool,
  'users': int,
  'not_measured': int,
  'diverged': int,
  'diverged_clients': [str],
  'accuracy_before': _FLOAT,
  'accuracy_after': _FLOAT,
  'loss_before': _FLOAT,
  'loss_after': _FLOAT,
  'worst_decile_before': _FLOAT,
  'worst_decile_after': _FLOAT,
  'better': int,
  'worse': int,
  'sha256': str,
}


class FineTuning(NamedTuple):
  """How users are fine-tuned: epochs of local SGD at a learning rate, with so many examples a step."""

  epochs: int
  learning_rate: float
  batch_size: int


class User(NamedTuple):
  """One user: the hashed id, one of `OUTCOMES`, and accuracy and loss (nats) on the examples to evaluate on, or NaN."""

  client_id: str
  outcome: str
  tuning_examples: int
  evaluation_examples: int
  accuracy_before: float = math.nan
  accuracy_after: float = math.nan
  loss_before: float = math.nan
  loss_after: float = math.nan


_WHOLE = ('tuning_examples', 'evaluation_examples')
_WORDS = ('client_id', 'outcome')


def summarize(users: Sequence[User], tuning: FineTuning, split: str, is_ordered: bool) -> dict[str, Any]:
  """Returns the figures of some users: means over those that were measured before and after, None without any.

  Args:
    users: All users of the split.
    tuning: How they were fine-tuned.
    split: One of `client_shards.SPLITS`.
    is_ordered: Whether each was fine-tuned on the first half of the examples, or on a random half.
  """
  measured = [user for user in users if user.outcome == MEASURED]
  diverged = [user.client_id for user in users if user.outcome == DIVERGED]
  return {
    **tuning._asdict(),
    'split': split,
    'is_ordered': is_ordered,
    'users': len(measured),
    'not_measured': len(users) - len(measured) - len(diverged),
    'diverged': len(diverged),
    'diverged_clients': diverged[:_MOST_NAMED],
    'accuracy_before': _mean([user.accuracy_before for user in measured]),
    'accuracy_after': _mean([user.accuracy_after for user in measured]),
    'loss_before': _mean([user.loss_before for user in measured]),
    'loss_after': _mean([user.loss_after for user in measured]),
    'worst_decile_before': _worst_decile([user.accuracy_before for user in measured]),
    'worst_decile_after': _worst_decile([user.accuracy_after for user in measured]),
    'better': sum(user.accuracy_after > user.accuracy_before for user in measured),
    'worse': sum(user.accuracy_after < user.accuracy_before for user in measured),
  }


def is_of(run: Mapping[str, Any], tuning: FineTuning) -> bool:
  """Returns whether `run.json` has figures of this fine-tuning."""
  figures = run.get(FIGURES, {})
  return tuning == tuple(figures.get(name) for name in FineTuning._fields)


def _mean(values: Sequence[float]) -> float | None:
  mean = math.fsum(values) / len(values) if values else math.nan
  return mean if math.isfinite(mean) else None


def _worst_decile(values: Sequence[float]) -> float | None:
  return _mean(sorted(values)[: -(-len(values) // _DECILE)])


def describe(run: Mapping[str, Any]) -> list[str]:
  """Returns what the figures under `FIGURES` say in sentences, none if there are no such figures."""
  if FIGURES not in run:
    return []
  figures = run[FIGURES]
  before, after = (figures[f'accuracy_{when}'] for when in ('before', 'after'))
  part, epochs, users = 'the first' if figures['is_ordered'] else 'a random', figures['epochs'], figures['users']
  what = (
    f'Fine-tuning ({epochs} epoch{"s" * (epochs != 1)}, learning rate {figures["learning_rate"]:g}) on {part} half of '
    f'the examples of each {figures["split"]} user'
  )
  sentences = [f'{what}: nobody could be measured.']
  if before is not None and after is not None:
    better, worse = (f'{figures[name]:,} ({figures[name] / users:.1%})' for name in ('better', 'worse'))
    low_before, low_after = (figures[f'worst_decile_{when}'] for when in ('before', 'after'))
    sentences = [
      f'{what}: accuracy on the other half {before:.1%} before, {after:.1%} after, as a mean over {users:,} users.',
      f'{better} got better, {worse} got worse; the lowest tenth of the users has {low_before:.1%} before, and '
      f'the lowest tenth after, perhaps other users, {low_after:.1%}.',
    ]
  if figures['not_measured']:
    sentences.append(f'{figures["not_measured"]:,} not measured: fewer than two examples, or no answer to measure on.')
  return [*sentences, *_describe_diverged(figures)]


def _describe_diverged(figures: Mapping[str, Any]) -> list[str]:
  if not figures['diverged']:
    return []
  more = f' and {figures["diverged"] - _MOST_NAMED:,} more' if figures['diverged'] > _MOST_NAMED else ''
  return [
    f'{figures["diverged"]:,} diverged and are in no mean (client {", ".join(figures["diverged_clients"])}{more}): '
    'lower --personalize_learning_rate.'
  ]


def write(run_dir: str, users: Iterable[User]) -> str:
  """Writes the rows into a run directory, whole or not at all, and returns the hash of the file."""
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator='\n')
  writer.writerow(User._fields)
  writer.writerows([_to_cell(value) for value in user] for user in users)
  run_directory.make(run_dir)
  files.write_atomically(_path(run_dir), text := buffer.getvalue())
  return hashlib.sha256(text.encode()).hexdigest()


def remove(run_dir: str) -> None:
  """Removes the rows of figures that are about to be replaced by figures without any."""
  if os.path.exists(_path(run_dir)):
    os.remove(_path(run_dir))


def read(run_dir: str, figures: Mapping[str, Any]) -> list[User]:
  """Returns the rows in a run directory, none if its figures have no personalization.

  Args:
    run_dir: The run directory.
    figures: Its `run.json`.

  Raises:
    ValueError: If the rows are damaged, or not those that the figures were made of.
  """
  if FIGURES not in figures:
    return []
  try:
    sealed_json.check(figures[FIGURES], _FORM)
    with open(_path(run_dir), 'rb') as file:
      content = file.read()
    if hashlib.sha256(content).hexdigest() != figures[FIGURES]['sha256']:
      raise ValueError('others')
    _, *rows = csv.reader(io.StringIO(content.decode()))
    return [User(*map(_from_cell, User._fields, row)) for row in rows]
  except (OSError, ValueError, TypeError) as error:
    raise ValueError(
      f'Expected the rows that the figures of {run_dir} were made of in {run_directory.PERSONALIZATION}, found '
      f'{error}: repeat the training command, which writes both again.'
    ) from error


def _path(run_dir: str) -> str:
  return os.path.join(run_dir, run_directory.PERSONALIZATION)


def _to_cell(value: Any) -> str:
  if isinstance(value, str):
    return value
  return repr(value) if math.isfinite(value) else ''


def _from_cell(name: str, cell: str) -> Any:
  if name in _WORDS:
    return cell
  return int(cell) if name in _WHOLE else float(cell or 'nan')
