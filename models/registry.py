"""The tasks by name: the one place to add a task of one's own."""

import tensorflow as tf

from contracts import released_model
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
  """Returns the task of that name.

  Raises:
    ValueError: If there is none.
  """
  if name not in _TASKS:
    raise ValueError(f'Expected a task among {", ".join(sorted(_TASKS))}, found {name!r}.')
  return _TASKS[name]


def rebuild(model: released_model.ReleasedModel, unroll: bool = False, batch_size: int | None = None) -> tf.keras.Model:
  """Returns the Keras model of a released one, with its weights; see `Task.build_model` for the other arguments."""
  built = get_task(model.schema.task).build_model(model.schema, model.model_size, unroll, batch_size)
  built.set_weights(list(model.weights))
  return built
