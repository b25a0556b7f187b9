"""Files of models with random weights, as variants make them."""

import functools
import tempfile

from ai_edge_litert import interpreter as litert
import numpy as np

from contracts import released_model
from contracts import schema as schema_lib
from export import parity
from export import tflite
from export.metadata import facts as facts_lib
from export.variants import registry
from tests.export import fakes

# Its tensors are large enough for the converter to make them smaller.
LARGE = (fakes.HANDWRITING, 64)
SMALL = (fakes.CHARACTERS, 8)


def interpret(variant: str, schema: schema_lib.Schema = fakes.CHARACTERS, model_size: int = 8) -> litert.Interpreter:
  """Returns an interpreter of a file of a built-in variant, or of one of one's own, ready to run."""
  interpreter = litert.Interpreter(model_content=make(variant, schema, model_size))
  interpreter.allocate_tensors()  # Fails on an operation that is not built in.
  return interpreter


def count_stored(variant: str, schema: schema_lib.Schema, model_size: int) -> tuple[dict[str, int], int]:
  """Returns how many values a file stores, by dtype, and its size in bytes."""
  one = np.zeros((1, *schema.feature.shape), schema.feature.dtype)
  return answer(variant, schema, model_size, one).stored, len(make(variant, schema, model_size))


def answer(variant: str, schema: schema_lib.Schema, model_size: int, features: np.ndarray) -> parity.Answers:
  """Returns what a file of a variant answers."""
  with tempfile.NamedTemporaryFile() as file:
    file.write(make(variant, schema, model_size))
    file.flush()
    return tflite.check(file.name, features, variant)[0]


def convert(run_dir: str, variant: str, calibration: parity.Examples | None = None) -> bytes:
  """Returns a file of a released model that has the form of the variant, with its metadata."""
  manifest = {'schema': released_model.load(run_dir).schema.to_json()}
  facts = facts_lib.Facts('fakes', 'f00d', manifest)
  content = tflite.convert(run_dir, variant, calibration=calibration, facts=facts)
  assert isinstance(content, bytes), content
  return content


@functools.cache
def make(variant: str, schema: schema_lib.Schema, model_size: int) -> bytes:
  with tempfile.TemporaryDirectory() as folder:
    fakes.release(folder, schema, model_size)
    return convert(folder, variant, fakes.make_examples(schema) if variant in registry.LEARNING else None)
