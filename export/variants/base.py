"""What a variant is: one way to write the released model as a TFLite file, and the bounds that the file is checked by.

One of your own is an object such as this, in a module that can be imported. Its file stores the weights as 16-bit
floats, and is checked more strictly than the built-in one. `--variants=float32,my_package.my_module:HALF` writes
`<task>.half.tflite`:

    from export import parity
    from export.variants import base

    class Half(base.Variant):
      name = 'half'
      summary = 'half the size, for models whose numbers are small'
      bounds = parity.Bounds(min_agreement=0.999, max_relative_difference=1e-3)

      def convert(self, model, calibration):
        import tensorflow as tf

        converter = base.build_converter(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()

    HALF = Half()

TensorFlow is imported by the methods that convert. They run in a guarded child process; its parent only reads names and
bounds, and imports no TensorFlow.
"""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from export import flex
from export import parity

if TYPE_CHECKING:
  import tensorflow as tf

# The number of weights of the Keras model, which the card also gives, is smaller.
_STORED = 'stored values (weights and constants)'
# What a value of a file is called that is not float32, by dtype.
_KINDS = {'int8': '8-bit integers', 'float16': '16-bit floats'}


class Variant(abc.ABC):
  """One way to write the model as a file; derive from this.

  Attributes:
    name: What the file is called after the task: lower-case letters, digits and underscores.
    summary: What the file is for, a phrase for the model card.
    bounds: How far the answers of the file may be from those of the Keras model.
    form: What one call of the file computes: `whole` examples, a `step` of a sequence, or a step that a device
      `train`s with (see `export/forms`).
    calibration: Which examples `convert` learns from: none; only public ones; or public ones or those of clients, whose
      file is then a release of them, which the user has to accept.
    max_examples: How many examples `convert` is given at most.
    learned: What the file has from the examples, a phrase for the privacy statement.
  """

  name: str
  summary: str
  bounds: parity.Bounds
  form: str = 'whole'
  calibration: Literal['none', 'public', 'released'] = 'none'
  max_examples: int = 500
  learned: str = 'ranges or weights'

  @abc.abstractmethod
  def convert(self, model: 'tf.keras.Model', calibration: parity.Examples | None) -> bytes:
    """Returns the content of the file, which has to answer as the model does.

    The export then puts the metadata in: they replace metadata and associated files that a converter of your own put
    there. It also drops the names of the tensors inside.

    Whatever it does, it takes no other variant down: an exception, a crash, or more memory or time than the limits
    makes this variant fail with that reason. The message of a `ValueError` is shown as it is; raise
    `models.unsupported.Unsupported` for a
    model with a layer that the variant does not support.

    Args:
      model: The Keras model with the released weights, in the form of the variant. `whole`: a batch of one, recurrent
        layers unrolled, one input as the schema has it, logits `[1, ..., num_classes]`. `step`: one element of a
        sequence and `state_0` and so on as inputs, logits `[1, num_classes]` and `next_state_0` and so on as outputs.
        `train`: a `TrainingModule` (export/on_device), whose `functions` are the signatures of the file.
      calibration: Features and labels of the schema, at even steps through those of all clients, sorted by client; None
        if the attribute `calibration` is `none`.
    """

  def describe(self, stored: Mapping[str, int]) -> str:
    """Returns what the file is for and what it stores, a phrase for the model card.

    Args:
      stored: `parity.Answers.stored`.
    """
    smaller = {kind: stored.get(dtype, 0) for dtype, kind in _KINDS.items() if stored.get(dtype)}
    if not smaller:
      return f'{self.summary}: {describe_float32(stored)}'
    total = sum(smaller.values()) + stored['float32']
    parts = ' and '.join(f'{count:,} are {kind}' for kind, count in smaller.items())
    rest = ', the others float32' if stored['float32'] else ''
    return f'{self.summary}: of {total:,} {_STORED} {parts}{rest}'


def describe_float32(stored: Mapping[str, int]) -> str:
  """Returns that all values of a file are float32, a phrase for the model card."""
  return f'all {stored["float32"]:,} {_STORED} are float32'


def build_converter(model: 'tf.keras.Model') -> 'tf.lite.TFLiteConverter':
  """Returns a converter of a model to operations that every device runtime has, with default settings otherwise.

  With --allow_flex, the file may have others as well.
  """
  import tensorflow as tf

  specs = [
    tf.TensorSpec(each.shape, each.dtype, name) for each, name in zip(model.inputs, model.input_names, strict=True)
  ]

  # A Keras model would be saved first, and each of its layers traced several times, which takes most of the time.
  @tf.function(input_signature=[specs], autograph=False)
  def answer(inputs: 'list[tf.Tensor]') -> 'dict[str, tf.Tensor]':
    outputs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    return dict(zip(model.output_names, tf.nest.flatten(outputs), strict=True))

  holder = tf.Module()
  holder.weights = model.weights
  converter = tf.lite.TFLiteConverter.from_concrete_functions([answer.get_concrete_function()], holder)
  converter.target_spec.supported_ops = list_operations(tf.lite.OpsSet.TFLITE_BUILTINS)
  return converter


def list_operations(built_in: 'tf.lite.OpsSet') -> 'list[tf.lite.OpsSet]':
  """Returns the operations that a file may have: the built-in ones, and with --allow_flex those of TensorFlow."""
  import tensorflow as tf

  return [built_in, *([tf.lite.OpsSet.SELECT_TF_OPS] if flex.is_allowed() else [])]


def require_examples(calibration: parity.Examples | None) -> parity.Examples:
  """Returns the examples that a variant was given.

  Raises:
    ValueError: If there are none, because its attribute `calibration` is `none`.
  """
  if calibration is None:
    raise ValueError('Expected examples, found none: set calibration = "released", or "public", in the variant.')
  return calibration
