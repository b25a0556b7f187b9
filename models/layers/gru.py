"""Gated recurrent layers over a whole sequence at once, with a backward pass written by hand.

Differentiating a loop step by step makes every step compute a product for each weight matrix. Here a step has only the
one product that the next step waits for; all others are one large product each, before or after the loop.

Time comes first, so that a step is one piece of memory.

A layer with `unroll=True` runs without a loop, of operations that every device runtime has.
"""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

# As many in one turn of a loop: without XLA that saves a fifth of the time of training, with XLA nothing.
_STEPS_PER_TURN = 4


@dataclasses.dataclass
class _List:
  """A `tf.TensorArray` for steps that are unrolled, of plain tensors.

  Attributes:
    items: What was written, by index.
  """

  items: dict[int, tf.Tensor]

  def read(self, index: int) -> tf.Tensor:
    return self.items[index]

  def write(self, index: int, value: tf.Tensor) -> '_List':
    self.items[index] = value
    return self

  def stack(self) -> tf.Tensor:
    return tf.stack([self.items[index] for index in sorted(self.items)])


class _States(NamedTuple):
  """What each step leaves: `[time, batch, ...]`.

  Attributes:
    hidden: The state after the step.
    gates: The update gate, which is the share of the last state that is kept, and the reset gate.
    recurrent: What the candidate would get from the last state were it not for the reset gate.
    candidate: What the rest of the state becomes.
  """

  hidden: tf.Tensor
  gates: tf.Tensor
  recurrent: tf.Tensor
  candidate: tf.Tensor


class _Factors(NamedTuple):
  """What a change of the state after each step costs, per unit of it: `[time, batch, ..., units]`.

  Attributes:
    products: In the step's product of the last state, for update gate, reset gate and candidate: `[..., 3, units]`.
    candidate: In the candidate before its activation.
  """

  products: tf.Tensor
  candidate: tf.Tensor


def gru(
  inputs: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor, unroll: bool = False
) -> tf.Tensor:
  """Runs a GRU (Cho et al. 2014, arXiv 1406.1078) from a state of zeros.

  It is Keras' variant `reset_after=True`, where the reset gate multiplies the product of the last state and not the
  state, and the gates are ordered update, reset, candidate.

  Args:
    inputs: `[batch, time, features]`, of which the batch alone may be unknown.
    kernel: `[features, 3 * units]`.
    recurrent_kernel: `[units, 3 * units]`.
    bias: `[2, 3 * units]`, for the product of the inputs and for that of the state.
    unroll: Whether there is no loop, and the batch is known.

  Returns:
    The state after each step, `[batch, time, units]`.
  """

  @tf.custom_gradient
  def run(*arguments: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    return _run(arguments, unroll)

  return run(inputs, kernel, recurrent_kernel, bias)


def _run(
  arguments: Sequence[tf.Tensor], unroll: bool
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
  """Returns what `gru` returns, and its gradient."""
  inputs, kernel, recurrent_kernel, bias = arguments
  units = recurrent_kernel.shape[0]
  # A bias is the weight of an input that is always one: its gradient comes with that of the kernel.
  ones = tf.ones_like(inputs[:, :, :1])
  rows = _rows(_swap(tf.concat([inputs, ones], axis=2)))
  # Only the candidate's product with the state has to wait for the reset gate before it meets the inputs.
  bias_of_gates = bias[0] + tf.concat([bias[1, : 2 * units], tf.zeros_like(bias[1, 2 * units :])], axis=0)
  products = tf.matmul(rows, tf.concat([kernel, bias_of_gates[tf.newaxis]], axis=0))
  products = tf.reshape(products, [inputs.shape[1], -1, 3 * units])
  states = _forward(products, recurrent_kernel, bias[1, 2 * units :], unroll)

  def gradient(by_outputs: tf.Tensor) -> tuple[tf.Tensor, ...]:
    before = tf.concat([tf.zeros_like(states.hidden[:1]), states.hidden[:-1]], axis=0)
    factors = _differentiate(states, before)
    by_states, by_products = _backward(_swap(by_outputs), states, factors, recurrent_kernel, unroll)
    return _gradients(rows, kernel, before, by_products, by_states * factors.candidate)

  return tf.ensure_shape(_swap(states.hidden), [*inputs.shape[:2], units]), gradient


def run_layers(model: tf.keras.Model) -> None:
  """Makes the layers of a model that `gru` can run be run by it, nested ones too; others stay as they are.

  The method of a layer is replaced rather than the layer: a clone would ask for its weights a second time, and would
  have to be put into the place of the first in every model and wrapper around it.
  """
  for layer in model.submodules:
    if _is_plain_gru(layer):
      layer.call = _build_call(layer)


def _build_call(layer: tf.keras.layers.RNN) -> Callable[..., tf.Tensor]:
  run_by_keras = layer.call

  @tf.autograph.experimental.do_not_convert
  def call(inputs: tf.Tensor, training: bool | None = None, **arguments: Any) -> tf.Tensor:
    # A mask or an initial state depends on what the layer is called with.
    if not inputs.shape[1] or any(value is not None for value in arguments.values()):
      return run_by_keras(inputs, training=training, **arguments)
    outputs = gru(inputs, layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias, layer.unroll)
    return outputs if layer.return_sequences else outputs[:, -1]

  return call


def _is_plain_gru(layer: tf.Module) -> bool:
  """Tells whether a layer is a GRU with the config that `gru` is written for, which are Keras' defaults."""
  if type(layer) not in (tf.keras.layers.GRU, tf.keras.layers.RNN) or type(layer.cell) is not tf.keras.layers.GRUCell:
    return False
  cell = layer.cell
  others = (layer.go_backwards, layer.return_state, layer.stateful, layer.time_major, layer.zero_output_for_mask)
  return (
    not any(others)
    and not (cell.dropout or cell.recurrent_dropout)
    and cell.reset_after
    and cell.use_bias
    and cell.activation is tf.keras.activations.tanh
    and cell.recurrent_activation is tf.keras.activations.sigmoid
  )


def _forward(products: tf.Tensor, recurrent_kernel: tf.Tensor, bias_of_candidate: tf.Tensor, unroll: bool) -> _States:
  """Runs the steps, given the products `[time, batch, 3 * units]` of the inputs."""
  units = recurrent_kernel.shape[0]
  steps, batch, _ = products.shape
  read = _unstack(products, unroll).read

  def step(time: tf.Tensor, last: tf.Tensor, *written: tf.TensorArray) -> tuple[Any, ...]:
    gates_of_inputs, candidate_of_inputs = tf.split(read(time), [2 * units, units], axis=1)
    gates_of_state, recurrent = tf.split(tf.matmul(last, recurrent_kernel), [2 * units, units], axis=1)
    gates = tf.sigmoid(gates_of_inputs + gates_of_state)
    keep, reset = tf.split(gates, 2, axis=1)
    recurrent += bias_of_candidate
    candidate = tf.tanh(candidate_of_inputs + reset * recurrent)
    hidden = candidate + keep * (last - candidate)
    values = _States(hidden, gates, recurrent, candidate)
    return hidden, *(array.write(time, value) for array, value in zip(written, values, strict=True))

  shapes = _States([batch, units], [batch, 2 * units], [batch, units], [batch, units])
  empty = (_make_array(products.dtype, steps, shape, unroll) for shape in shapes)
  _, *written = _loop(steps, step, (tf.zeros_like(products[0, :, :units]), *empty), unroll)
  return _States(
    *(tf.ensure_shape(array.stack(), [steps, *shape]) for array, shape in zip(written, shapes, strict=True))
  )


def _differentiate(states: _States, before: tf.Tensor) -> _Factors:
  keep, reset = tf.split(states.gates, 2, axis=2)
  candidate = (1 - keep) * (1 - states.candidate * states.candidate)
  by_recurrent = candidate * reset
  by_reset = by_recurrent * states.recurrent * (1 - reset)
  by_update = (before - states.candidate) * keep * (1 - keep)
  # On an axis of their own: XLA joins numbers one by one where it cannot tell early which part each one is from.
  return _Factors(tf.stack([by_update, by_reset, by_recurrent], axis=2), candidate)


def _backward(
  by_outputs: tf.Tensor, states: _States, factors: _Factors, recurrent_kernel: tf.Tensor, unroll: bool
) -> tuple[tf.Tensor, tf.Tensor]:
  """Runs the steps from the last to the first.

  Returns:
    The gradient by the state after each step, `[time, batch, units]`, and by each step's product of the last state,
    `[time, batch, 3, units]`.
  """
  steps, batch, units = states.hidden.shape
  keep = states.gates[:, :, :units]
  read_outputs, read_keep, read_factors = (
    _unstack(values, unroll).read for values in (by_outputs, keep, factors.products)
  )
  # Once: a product with a matrix that lies the other way takes several times as long.
  transposed = tf.transpose(recurrent_kernel)

  def step(index: tf.Tensor, back: tf.Tensor, *written: tf.TensorArray) -> tuple[Any, ...]:
    time = steps - 1 - index
    by_state = back + read_outputs(time)
    values = by_state, by_state[:, tf.newaxis] * read_factors(time)
    written = tuple(array.write(time, value) for array, value in zip(written, values, strict=True))
    # Read back: XLA computes number by number what is reshaped where it is computed.
    by_product = tf.reshape(written[1].read(time), [-1, 3 * units])
    return by_state * read_keep(time) + tf.matmul(by_product, transposed), *written

  shapes = ([batch, units], [batch, 3, units])
  empty = (_make_array(keep.dtype, steps, shape, unroll) for shape in shapes)
  _, by_states, by_products = _loop(steps, step, (tf.zeros_like(by_outputs[0]), *empty), unroll)
  return by_states.stack(), by_products.stack()


def _gradients(
  rows: tf.Tensor, kernel: tf.Tensor, before: tf.Tensor, by_products: tf.Tensor, by_candidates: tf.Tensor
) -> tuple[tf.Tensor, ...]:
  """Returns the gradients by the inputs, the kernel, the recurrent kernel and the bias."""
  steps, _, units = before.shape
  of_state, of_candidate = tf.reshape(by_products, [-1, 3 * units]), _rows(by_candidates)
  by_recurrent_kernel = tf.matmul(_rows(before), of_state, transpose_a=True)
  # Inputs and state meet in sums, whose gradient is that of both, but for the candidate.
  from_state = tf.matmul(rows, of_state, transpose_a=True)
  from_candidate = tf.matmul(rows, of_candidate, transpose_a=True)
  from_inputs = tf.concat([from_state[:, : 2 * units], from_candidate], axis=1)
  # Zeros rather than a part of a large matrix, which would be copied.
  of_gates = tf.concat([kernel[:, : 2 * units], tf.zeros_like(kernel[:, 2 * units :])], axis=1)
  by_rows = tf.matmul(of_state, of_gates, transpose_b=True)
  by_rows += tf.matmul(of_candidate, kernel[:, 2 * units :], transpose_b=True)
  by_inputs = _swap(tf.reshape(by_rows, [steps, -1, kernel.shape[0]]))
  return by_inputs, from_inputs[:-1], by_recurrent_kernel, tf.stack([from_inputs[-1], from_state[-1]])


def _loop(steps: int, step: Callable[..., tuple[Any, ...]], state: tuple[Any, ...], unroll: bool) -> tuple[Any, ...]:
  """Calls `step(index, *state) -> state` for each index, in order."""
  rest = steps if unroll else steps % _STEPS_PER_TURN
  for index in range(rest):
    state = step(index, *state)
  if unroll:
    return state

  def turn(first: tf.Tensor, *current: Any) -> tuple[Any, ...]:
    for offset in range(_STEPS_PER_TURN):
      current = step(first + offset, *current)
    return first + _STEPS_PER_TURN, *current

  return tf.while_loop(lambda first, *_: first < steps, turn, (tf.constant(rest), *state), parallel_iterations=1)[1:]


def _make_array(dtype: tf.DType, steps: int, shape: Sequence[int | None], unroll: bool) -> Any:
  return _List({}) if unroll else tf.TensorArray(dtype, steps, element_shape=shape, clear_after_read=False)


def _unstack(values: tf.Tensor, unroll: bool) -> Any:
  """Makes steps readable: XLA first pads what is indexed to twice its size along every axis, an array it does not."""
  if unroll:
    return _List(dict(enumerate(tf.unstack(values))))
  return tf.TensorArray(values.dtype, values.shape[0], element_shape=values.shape[1:]).unstack(values)


def _swap(values: tf.Tensor) -> tf.Tensor:
  return tf.transpose(values, [1, 0, 2])


def _rows(values: tf.Tensor) -> tf.Tensor:
  return tf.reshape(values, [-1, values.shape[-1]])
