"""Next item: what a client visits, buys or plays next, from a vocabulary of items."""

import tensorflow as tf

from contracts import schema as schema_lib
from models import task
from models.tasks import recurrent

# As of words: most weights of the model are here and in the logits, one row an item.
_EMBEDDING_SIZE = 32


def build_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds embedding -> GRU of `model_size` units -> a logit per item."""
  return recurrent.build_model(schema, model_size, _EMBEDDING_SIZE, unroll, batch_size)


TASK = task.Task('next_item', build_model, default_size=64, metrics=task.RANKING)
