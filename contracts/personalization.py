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
# The key of the ledger that says how a device reconstructs local layers.
ON_DEVICE = 'on_device'
# What became of a user: measured before and after; without two examples, or without an answer to measure on; with
# weights or a loss that are not finite after fine-tuning.
MEASURED, NOT_MEASURED, DIVERGED = OUTCOMES = ('measured', 'not_measured', 'diverged')

# Of an accuracy of a model with local layers as it was released.
NOT_RECONSTRUCTED = ' with the local layers at their initial weights'
_MOST_NAMED = 3
_LOWER = 'lower --personalize_learning_rate'
# The users with the lowest accuracy are one in so many.
_DECILE = 10
_FLOAT = (float, int, type(None))
_FORM = {
  'epochs': int,
  'learning_rate': (float, int),
  'batch_size': int,
  'split': str,
  'is_ordered': bool,
  'local_layers?': [str],
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
_ON_DEVICE_FORM = {'epochs': int, 'learning_rate': (float, int), 'batch_size': int, 'local_layers': [str]}


class FineTuning(NamedTuple):
  """How users are fine-tuned: epochs of local SGD at a learning rate, with so many examples a step.

  `local_layers` names the layers that are trained and the others are frozen; empty: all layers are trained.
  """

  epochs: int
  learning_rate: float
  batch_size: int
  local_layers: tuple[str, ...] = ()


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
    **to_json(tuning),
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
  return all(figures.get(name, []) == value for name, value in to_json(tuning).items())


def to_json(tuning: FineTuning) -> dict[str, Any]:
  """Returns a fine-tuning as JSON has it."""
  return {**tuning._asdict(), 'local_layers': list(tuning.local_layers)}


def of_ledger(ledger: Mapping[str, Any]) -> FineTuning | None:
  """Returns how a device reconstructs the local layers of a released model; None if it has none.

  Args:
    ledger: The privacy ledger of the model.

  Raises:
    ValueError: If the ledger says something else there.
  """
  if ON_DEVICE not in ledger:
    return None
  try:
    sealed_json.check(value := ledger[ON_DEVICE], _ON_DEVICE_FORM)
  except ValueError as error:
    raise ValueError(
      f'Expected {ON_DEVICE} of a privacy ledger to say how local layers are reconstructed, found {error}: repeat the '
      'training command, which writes it again.'
    ) from error
  return FineTuning(value['epochs'], value['learning_rate'], value['batch_size'], tuple(value['local_layers']))


def to_ledger(tuning: FineTuning) -> dict[str, Any]:
  """Returns what the ledger of a model with local layers says of them, for people and for `of_ledger`."""
  names, steps = ', '.join(tuning.local_layers), f'{tuning.epochs} epoch{"s" * (tuning.epochs != 1)} of SGD'
  text = (
    f'{names}: never sent by a client, which reconstructs them in each round; the released model has them at the '
    f'weights that the run began with. Reconstruct on the device before use: {steps} on its own examples, learning '
    f'rate {tuning.learning_rate:g}, {tuning.batch_size} examples a step, the other layers frozen'
  )
  return {'local_layers': text, ON_DEVICE: to_json(tuning)}


def _mean(values: Sequence[float]) -> float | None:
  mean = math.fsum(values) / len(values) if values else math.nan
  return mean if math.isfinite(mean) else None


def _worst_decile(values: Sequence[float]) -> float | None:
  return _mean(sorted(values)[: -(-len(values) // _DECILE)])


def has_local_layers(run: Mapping[str, Any]) -> bool:
  """Returns whether the model that figures are of has local layers, which a device reconstructs before use."""
  return bool(run.get(FIGURES, {}).get('local_layers'))


def describe(run: Mapping[str, Any]) -> list[str]:
  """Returns what the figures under `FIGURES` say in sentences, none if there are no such figures."""
  if FIGURES not in run:
    return []
  figures = run[FIGURES]
  before, after = (figures[f'accuracy_{when}'] for when in ('before', 'after'))
  part, epochs, users = 'the first' if figures['is_ordered'] else 'a random', figures['epochs'], figures['users']
  local = ', '.join(figures.get('local_layers', ()))
  name = f'Reconstruction of the local layers {local}' if local else 'Fine-tuning'
  what = (
    f'{name} ({epochs} epoch{"s" * (epochs != 1)}, learning rate {figures["learning_rate"]:g}) on {part} half of '
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
  is_local = figures.get('local_layers')
  remedy = 'lower --client_learning_rate, or set reconstruction_learning_rate' if is_local else _LOWER
  more = f' and {figures["diverged"] - _MOST_NAMED:,} more' if figures['diverged'] > _MOST_NAMED else ''
  return [
    f'{figures["diverged"]:,} diverged and are in no mean (client {", ".join(figures["diverged_clients"])}{more}): '
    f'{remedy}.'
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
