"""Next word: what a phone keyboard suggests, from a vocabulary."""

import tensorflow as tf

from contracts import schema as schema_lib
from models import task
from models.tasks import recurrent

# Words say more than characters; most weights of the model are here and in the logits, one row a word.
_EMBEDDING_SIZE = 32


def build_model(
  schema: schema_lib.Schema, model_size: int, unroll: bool = False, batch_size: int | None = None
) -> tf.keras.Model:
  """Builds embedding -> GRU of `model_size` units -> a logit per word."""
  return recurrent.build_model(schema, model_size, _EMBEDDING_SIZE, unroll, batch_size)


TASK = task.Task('next_word', build_model, default_size=64)
