"""Training files that tests share, and examples for them."""

import functools
import os
import tempfile

import numpy as np

from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from export import parity
from export.on_device import training_settings
from tests.export import converted
from tests.export import fakes

TABLE = schema_lib.Schema(
  'classification',
  schema_lib.Feature('numbers', 'float32', (5,)),
  schema_lib.Feature('class', 'int32', ()),
  tuple('abc'),
)
UNITS = 6


@functools.cache
def folder(
  schema: schema_lib.Schema = TABLE, units: int = UNITS, local: personalization.FineTuning | None = None
) -> tuple[str, str]:
  """Returns a run directory with a released model, perhaps with local layers, and the path of its training file."""
  directory = tempfile.mkdtemp()
  fakes.release(directory, schema, units)
  if local:
    entries = {**fakes.privacy(), **personalization.to_ledger(local)}
    released_model.save(released_model.load(directory), entries, directory)
  with open(os.path.join(directory, 'config.flags'), 'w') as file:
    file.write('\n'.join(fakes.TRAINING_FLAGS) + '\n')
  path = os.path.join(directory, 'model.train.tflite')
  with open(path, 'wb') as content:
    content.write(converted.convert(directory, 'train'))
  return directory, path


def tuning() -> personalization.FineTuning:
  """Returns how the files train."""
  return training_settings.read(folder()[0])


def examples(schema: schema_lib.Schema = TABLE, count: int = 50) -> parity.Examples:
  """Returns examples, of which some labels do not count."""
  found = fakes.make_examples(schema, count)
  if schema.feature.dtype == 'float32':
    features = np.random.default_rng(1).normal(size=found.features.shape).astype(np.float32)
    found = parity.Examples(features, found.labels)
  found.labels.reshape(-1)[[2, 5]] = schema_lib.IGNORED_LABEL
  return found
