"""The tasks by name, built-in ones and those of the user's own."""

from typing import Any

import tensorflow as tf

from common import loading
from contracts import released_model
from contracts import run_directory
from contracts import schema as schema_lib
from models import task
from models.tasks import classification
from models.tasks import handwriting
from models.tasks import next_character
from models.tasks import next_item
from models.tasks import next_word

_TASKS = {
  entry.name: entry
  for entry in (next_character.TASK, next_word.TASK, next_item.TASK, handwriting.TASK, classification.TASK)
}


def get_task(name: str) -> task.Task:
  """Returns the built-in task that a data set names.

  Raises:
    ValueError: If there is none.
  """
  if name not in _TASKS:
    raise ValueError(
      f'Expected a task among {", ".join(sorted(_TASKS))}, found {name!r}: give one of your own by '
      f'--task={loading.FORM}.'
    )
  return _TASKS[name]


def find(name: str) -> task.Task:
  """Returns the task of `--task`, importing it if it is the user's own.

  Args:
    name: A built-in name, or `package.module:attribute`.

  Raises:
    ValueError: If there is none.
  """
  found = loading.find('--task', name, _TASKS)
  if name not in _TASKS:
    _check(name, found)
  return found


def choose(schema: schema_lib.Schema, name: str | None) -> task.Task:
  """Returns the task of `--task`, or the one that the schema names if there is no such flag."""
  return find(name) if name else get_task(schema.task)


def rebuild(
  model: released_model.ReleasedModel, unroll: bool = False, batch_size: int | None = None, name: str | None = None
) -> tf.keras.Model:
  """Returns the Keras model of a released one, with its weights.

  Args:
    model: The released model.
    unroll: See `Task.build_model`.
    batch_size: See `Task.build_model`.
    name: What `released_model.check_task` returned; by default the built-in task that the model names.

  Raises:
    ValueError: If there is no such task, or its model does not fit the schema.
  """
  own = find(name) if name else get_task(model.task.source)
  built = own.build(model.schema, model.model_size, unroll, batch_size)
  built.set_weights(list(model.weights))
  return built


def _check(name: str, found: Any) -> None:
  if not isinstance(found, task.Task):
    raise ValueError(
      f'Expected a task, found {name!r} of type {type(found).__name__}: make it a Task of models/task.py.'
    )
  if not released_model.TASK_NAME.fullmatch(found.name) or found.name in _TASKS:
    raise ValueError(
      f'Expected a task with a name of its own of letters, digits and underscores, found {found.name!r} in {name}: '
      f'files are called after it; give it one that is not among {", ".join(_TASKS)}.'
    )
  _check_metrics(name, found.metrics)


def _check_metrics(name: str, metrics: Any) -> None:
  """Checks that each metric gets a place of its own among the figures."""
  if not isinstance(metrics, tuple):
    raise ValueError(
      f'Expected the metrics of {name} in a tuple, found a {type(metrics).__name__}: write metrics=(METRIC,).'
    )
  names: set[str] = set()
  for metric in metrics:
    if not isinstance(metric, task.Metric) or not isinstance(metric.name, str) or not callable(metric.of_rank):
      raise ValueError(
        f'Expected metrics of {name} that are each a Metric of models/task.py, found one of type '
        f'{type(metric).__name__}: write Metric("name", of_rank), where of_rank is a function.'
      )
    if not released_model.TASK_NAME.fullmatch(metric.name) or metric.name in run_directory.FIGURE_NAMES | names:
      raise ValueError(
        f'Expected metrics of {name} with names of their own of letters, digits and underscores, found '
        f'{metric.name!r}: another figure may have it; choose another name.'
      )
    names.add(metric.name)
