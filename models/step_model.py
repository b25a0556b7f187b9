"""A recurrent model as one step: what it does at one position of a sequence, its state as inputs and outputs.

It is made of any Keras model whose layers are recurrent or see one position at a time, and shares its weights.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models import unsupported

# A layer that sees one position at a time gives the same for a sequence of one, up to the order of additions.
_ROUNDING = 1e-4
# What layers raise that need another number of positions, those of a user's own included.
_RAISED = (
  ValueError,
  TypeError,
  LookupError,
  AttributeError,
  AssertionError,
  ArithmeticError,
  NotImplementedError,
  tf.errors.InvalidArgumentError,
  tf.errors.UnimplementedError,
)
_MESSAGE_LENGTH = 120  # Of theirs.
_REMEDY = 'a step model has recurrent layers, and layers that see one position at a time'

# The arguments of one call of a layer, with what becomes of each tensor that the model computes.
_Arguments = Callable[..., tuple[Sequence[Any], dict[str, Any]]]
# Calls a layer, or does something else in its place, and returns the outputs.
_Apply = Callable[[tf.keras.layers.Layer, _Arguments], Any]


def build(model: tf.keras.Model, schema: schema_lib.Schema) -> tf.keras.Model:
  """Returns the step model: `(element, state_0, ...) -> (logits, next_state_0, ...)`, each with a batch of one.

  The first step begins with states of zeros. After each of `model`'s positions, the logits are those of `model` there.

  Args:
    model: From features `[1, positions, ...]` to logits `[1, positions, num_classes]`.
    schema: Of its examples.

  Raises:
    Unsupported: If a layer depends on several positions in another way than through the state of a recurrent layer.
  """
  positions = schema.feature.shape[:1]
  if not positions or schema.label.shape != positions:
    raise unsupported.Unsupported(
      f'Expected examples that have a label for each position, found labels of shape {list(schema.label.shape)} for '
      f'features of shape {list(schema.feature.shape)}: a step model answers at each position.'
    )
  trial = _Trial()
  _run(model, [_draw(schema, model.input.dtype)], trial)
  if not trial.starts:
    raise unsupported.Unsupported(f'Expected recurrent layers, found none: {_REMEDY}.')
  states = tf.nest.flatten(trial.starts)
  inputs = [_make_input(model.input.shape[2:], model.input.dtype, model.input_names[0])]
  inputs += [_make_input(state.shape[1:], state.dtype, f'state_{index}') for index, state in enumerate(states)]
  outputs = _Step(model, trial.starts)(inputs)
  names = (model.output_names[0], *(f'next_state_{index}' for index in range(len(states))))
  # A signature has the names of the layers that the outputs come from.
  named = [tf.keras.layers.Activation('linear', name=name)(each) for name, each in zip(names, outputs, strict=True)]
  return tf.keras.Model(inputs, named, name=model.name)


def _make_input(shape: tf.TensorShape, dtype: tf.DType, name: str) -> Any:
  return tf.keras.Input(shape, batch_size=1, dtype=dtype, name=name)


def _draw(schema: schema_lib.Schema, dtype: tf.DType) -> tf.Tensor:
  """Returns one random example, always the same."""
  generator, shape = np.random.default_rng(0), (1, *schema.feature.shape)
  values = generator.integers(0, schema.num_classes, shape) if dtype.is_integer else generator.normal(size=shape)
  return tf.constant(values, dtype)


def _run(model: tf.keras.Model, inputs: Iterable[tf.Tensor], apply: _Apply) -> list[Any]:
  """Runs the layers of a model in their order, those of models inside it too, and returns its outputs.

  As Keras does it (`Functional._run_internal_graph`), which has no public way to do something else at a layer.
  """
  values = {str(id(given)): value for given, value in zip(model.inputs, inputs, strict=True)}
  nodes = [node for _, same in sorted(model._nodes_by_depth.items(), reverse=True) for node in same]
  for node in nodes:
    if node.is_input:
      continue

    def arguments(change: Callable[[Any], Any] = lambda value: value, node: Any = node) -> Any:
      keys = node.flat_input_ids
      return node.map_arguments({key: [change(values[key])] * len(keys) for key in keys})

    if isinstance(node.layer, tf.keras.Model) and node.layer.inputs:
      outputs: Any = _run(node.layer, tf.nest.flatten(arguments()[0][0]), apply)
    else:
      outputs = apply(node.layer, arguments)
    values.update(zip(node.flat_output_ids, tf.nest.flatten(outputs), strict=True))
  return [values[str(id(output))] for output in model.outputs]


class _Trial:
  """Runs layers on a whole sequence, and refuses those of which a step model cannot be made.

  Attributes:
    starts: The states that the recurrent layers begin with, in the order of their calls.
  """

  def __init__(self) -> None:
    self.starts: list[Any] = []

  def __call__(self, layer: tf.keras.layers.Layer, arguments: _Arguments) -> Any:
    inputs, named = arguments()
    outputs = layer(*inputs, **named)
    if isinstance(layer, tf.keras.layers.RNN):
      _check_recurrent(layer, inputs, named)
      self.starts.append(_find_start(layer, inputs[0], _mask_of(inputs[0], named)))
    else:
      _check_position(layer, arguments, outputs)
    return outputs


def _check_recurrent(layer: tf.keras.layers.RNN, inputs: Sequence[Any], named: dict[str, Any]) -> None:
  others = [*inputs[1:], *(value for name, value in named.items() if name not in ('mask', 'training'))]
  options = {
    'go_backwards=True': layer.go_backwards,
    'return_sequences=False': not layer.return_sequences,
    'return_state=True': layer.return_state,
    'stateful=True': layer.stateful,
    'time_major=True': layer.time_major,
    'an initial state or constants': not tf.is_tensor(inputs[0]) or any(value is not None for value in others),
  }
  found = [option for option, is_set in options.items() if is_set]
  if found:
    raise unsupported.Unsupported(
      f'Expected recurrent layers that return an output at each position and begin with zeros, found '
      f'{_name(layer)} with {" and ".join(found)}: {_REMEDY}.'
    )


def _find_start(layer: tf.keras.layers.RNN, inputs: tf.Tensor, mask: tf.Tensor | None) -> Any:
  start = layer.get_initial_state(inputs)
  if any(np.any(state) for state in tf.nest.flatten(start)):
    raise unsupported.Unsupported(
      f'Expected recurrent layers that begin with zeros, found another start of {_name(layer)}.'
    )
  output, after = layer.cell(inputs[:, 0], tuple(start))
  if mask is not None and _index_of(output, after) is None:
    raise unsupported.Unsupported(
      f'Expected the output of a cell to be one of its states where there is a mask, found {_name(layer)}: remove '
      'the mask, positions after the last one change no answer before them.'
    )
  return start


def _check_position(layer: tf.keras.layers.Layer, arguments: _Arguments, whole: Any) -> None:
  """Raises `Unsupported` if a layer gives another output for a sequence of one position than for a whole sequence."""

  def run_alone(index: int) -> list[tf.Tensor]:
    inputs, named = arguments(lambda value: _with_mask(value[:, index : index + 1], _mask_slice(value, index)))
    return tf.nest.flatten(layer(*inputs, **named))

  expected = tf.nest.flatten(whole)
  try:
    alone = [run_alone(index) for index in range(expected[0].shape[1])]
    found = [tf.concat(each, axis=1) for each in zip(*alone, strict=True)]
    is_same, why = all(map(_is_close, found, expected)), ''
  except _RAISED as error:
    is_same, why = False, f', which raised {type(error).__name__} ({" ".join(str(error).split())[:_MESSAGE_LENGTH]})'
  if not is_same:
    raise unsupported.Unsupported(
      f'Expected layers whose output at a position depends on that position alone, found {_name(layer)}{why}: '
      f'{_REMEDY}.'
    )


def _is_close(found: tf.Tensor, expected: tf.Tensor) -> bool:
  scale = _ROUNDING * float(np.abs(expected).max())
  return found.shape == expected.shape and np.allclose(found, expected, rtol=_ROUNDING, atol=scale)


class _Step(tf.keras.layers.Layer):
  """All layers of a model at one position.

  Args:
    model: The model.
    starts: As in `_Trial`.
  """

  def __init__(self, model: tf.keras.Model, starts: Sequence[Any]) -> None:
    super().__init__(name='step')
    self._shared_weights = list(model.weights)
    # Keras finds no layers in a function: saved as a part, the model would be traced for whole sequences as well.
    self._advance = lambda inputs: _advance_all(model, starts, inputs)

  def call(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return self._advance(inputs)


@tf.autograph.experimental.do_not_convert
def _advance_all(model: tf.keras.Model, starts: Sequence[Any], inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
  element, *states = inputs
  given, left = iter(states), iter(starts)
  returned: list[tf.Tensor] = []

  def apply(layer: tf.keras.layers.Layer, arguments: _Arguments) -> Any:
    (first, *rest), named = arguments()
    if not isinstance(layer, tf.keras.layers.RNN):
      return layer(first, *rest, **named)
    start = next(left)
    before = [next(given) for _ in tf.nest.flatten(start)]
    output, after = _advance(layer, first, _mask_of(first, named), tf.nest.pack_sequence_as(start, before))
    returned.extend(after)
    return output

  (logits,) = _run(model, [element[:, tf.newaxis]], apply)
  return [logits[:, 0], *returned]


def _advance(
  layer: tf.keras.layers.RNN, inputs: tf.Tensor, mask: tf.Tensor | None, before: Any
) -> tuple[tf.Tensor, list[tf.Tensor]]:
  """Returns the output of a recurrent layer at one position, `[1, 1, ...]`, and its states after it, flat.

  The cell is called, never the layer: whatever runs whole sequences in its place has no part in this.
  """
  output, after = layer.cell(inputs[:, 0], tuple(before))
  states = tf.nest.flatten(after)
  if mask is None:
    return output[:, tf.newaxis], states
  # As Keras does it: at a position that is masked, the state stays, and the last output is given again.
  index = _index_of(output, after)

  def choose(new: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.reshape(mask, [1] * len(new.shape)), new, otherwise)

  states = [choose(new, old) for new, old in zip(states, tf.nest.flatten(before), strict=True)]
  output = choose(output, tf.zeros_like(output)) if layer.zero_output_for_mask else states[index]
  return _with_mask(output[:, tf.newaxis], mask), states


def _index_of(output: tf.Tensor, states: Any) -> int | None:
  """Returns which of its states a cell gives as its output: of GRU and LSTM the first one."""
  return next((index for index, state in enumerate(tf.nest.flatten(states)) if state is output), None)


def _mask_of(inputs: tf.Tensor, named: dict[str, Any]) -> tf.Tensor | None:
  return named.get('mask', getattr(inputs, '_keras_mask', None))


def _mask_slice(value: tf.Tensor, index: int) -> tf.Tensor | None:
  mask = getattr(value, '_keras_mask', None)
  return None if mask is None else mask[:, index : index + 1]


def _with_mask(value: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
  if mask is not None:
    value._keras_mask = mask
  return value


def _name(layer: tf.keras.layers.Layer) -> str:
  return f'{layer.name} ({type(layer).__name__})'
