"""Keras -> .tflite bytes -> answers, each in a guarded child process.

Every variant starts from the same form: a batch of one, recurrent layers unrolled, float or int32 inputs as the Keras
model has them, float outputs, built-in operations only. That form ran in every device runtime tried; a dynamic batch
needs TensorFlow's own kernels, and the fused LSTM keeps state from one call to the next.
"""

import numpy as np

from contracts import released_model
from export import parity
from export.variants import registry as variants


def file_name(task: str, variant: str) -> str:
  """Returns the name of the variant's file in the model folder."""
  return f'{task}.{variant}.tflite'


def convert(run_dir: str, variant: str, task: str | None = None) -> bytes:
  """Converts the released model of a run; meant for a guarded child process.

  Args:
    run_dir: The run directory.
    variant: A built-in name or `package.module:attribute`.
    task: The value of `--task`, if it is given.

  Raises:
    ValueError: If the released model is missing or damaged, or the variant refuses it.
  """
  from models import registry  # Not above: only the child process loads TensorFlow.

  released = released_model.load(run_dir)
  name = released_model.check_task(released, task, run_dir)
  model = registry.rebuild(released, unroll=True, batch_size=1, name=name)
  content = variants.find(variant).convert(model, None)
  if not isinstance(content, bytes):
    raise ValueError(
      f'Expected convert of {variant} to return bytes, found a {type(content).__name__}: return converter.convert().'
    )
  return content


def check(path: str, features: np.ndarray, variant: str) -> tuple[parity.Answers, str]:
  """Runs a file, and returns its answers and what the variant says of it; meant for a guarded child process.

  Args:
    path: The file.
    features: `[n, ...]`.
    variant: A built-in name or `package.module:attribute`.

  Raises:
    ValueError: If the file cannot be compared (see `parity.tflite_answers`), or there is no description of it.
  """
  answers = parity.tflite_answers(path, features)
  description = variants.find(variant).describe(dict(answers.stored))
  if not isinstance(description, str):
    raise ValueError(
      f'Expected describe of {variant} to return a str, found a {type(description).__name__}: return a phrase.'
    )
  return answers, description
