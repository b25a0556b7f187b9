"""Next character: the field's Shakespeare task, standing in for a phone keyboard."""

import tensorflow as tf

from contracts import schema as schema_lib
from models import task
from models.tasks import recurrent

_EMBEDDING_SIZE = 16


def build_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds embedding -> GRU of `model_size` units -> a logit per character."""
  return recurrent.build_model(schema, model_size, _EMBEDDING_SIZE, unroll, batch_size)


TASK = task.Task('next_character', build_model, default_size=64)
