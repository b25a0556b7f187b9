"""Keras -> .tflite bytes -> answers, each in a guarded child process.

What one call of a file computes is its form; see `export/forms`.
"""

from typing import TYPE_CHECKING

import numpy as np

from contracts import released_model
from export import flex
from export import operations
from export import parity
from export.forms import registry as forms
from export.metadata import facts as facts_lib
from export.on_device import training_settings
from export.variants import base
from export.variants import registry as variants
from models import unsupported

if TYPE_CHECKING:
  import tensorflow as tf


def convert(
  run_dir: str,
  variant: str,
  task: str | None = None,
  calibration: parity.Examples | None = None,
  allow_flex: bool = False,
  facts: facts_lib.Facts | None = None,
) -> bytes | unsupported.Unsupported:
  """Converts the released model of a run; meant for a guarded child process.

  Args:
    run_dir: The run directory.
    variant: A built-in name or `package.module:attribute`.
    task: The value of `--task`, if it is given.
    calibration: What the variant learns from, if it does.
    allow_flex: Whether the file may have operations that only TensorFlow's own kernels compute.
    facts: What the metadata of the file say; None: it gets none.

  Returns:
    The file, or why the variant does not support the model: its form, or one of its layers.

  Raises:
    ValueError: If the released model is missing or damaged, or the variant refuses it.
  """
  released, ledger = released_model.load_with_ledger(run_dir)
  name = released_model.check_task(released, task, run_dir)
  own = variants.find(variant)
  try:
    model = forms.FORMS[own.form].build(released, name, run_dir)
    with flex.allowing(allow_flex):
      content = _convert(own, model, calibration)
  except unsupported.Unsupported as error:
    return error
  if not isinstance(content, bytes):
    raise ValueError(
      f'Expected convert of {variant} to return bytes, found a {type(content).__name__}: return converter.convert().'
    )
  if facts is None:
    return content
  from export.metadata import describing  # Here, with long schemas behind it, so that only the child loads them.

  # Before the checks: what is compared with Keras, timed and hashed is what is published.
  tuning = training_settings.read(run_dir) if own.form == 'train' else None
  return describing.add(content, own, released, ledger, facts, tuning)


def _convert(variant: base.Variant, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
  """Returns what a variant returns; names the operations that a device's runtime does not have if it fails for them."""
  from tensorflow.lite.python import convert_phase

  try:
    return variant.convert(model, calibration)
  except convert_phase.ConverterError as error:
    missing = flex.describe_missing(str(error), lambda: operations.find_uses(model))
    if not missing:
      raise
    raise ValueError(missing) from error


def check(path: str, features: np.ndarray, variant: str, allow_flex: bool = False) -> tuple[parity.Answers, str]:
  """Runs a file, and returns its answers and what the variant says of it; meant for a guarded child process.

  Args:
    path: The file.
    features: `[n, ...]`.
    variant: A built-in name or `package.module:attribute`.
    allow_flex: As in `convert`; a variant may set the operations of its converter itself.

  Raises:
    ValueError: If the file has operations that are not allowed, or cannot be compared (see `forms.base.Form.answers`),
      or there is no description of it.
  """
  own = variants.find(variant)
  if not allow_flex:
    flex.refuse(path)
  answers = forms.FORMS[own.form].answers(path, features)
  description = own.describe(dict(answers.stored))
  if not isinstance(description, str):
    raise ValueError(
      f'Expected describe of {variant} to return a str, found a {type(description).__name__}: return a phrase.'
    )
  return answers, description + flex.describe(path)
