from collections.abc import Callable, Sequence
import itertools
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from models.layers import gru as gru_lib
from tests.tff_tasks import derivatives

_L = tf.keras.layers

# Batch, time, features, units.
_SHAPES = {
  'some': (2, 5, 3, 4),
  'one_example': (1, 5, 3, 4),
  'one_step': (2, 1, 3, 4),
  'two_steps': (2, 2, 3, 4),
  'ones': (1, 1, 1, 1),
  'wide': (10, 20, 8, 32),
}
_TIME, _FEATURES, _UNITS = 5, 3, 4

# Models of gated layers, and the number of those that `gru` runs.
_RUN: dict[str, tuple[Callable[[], Sequence[tf.keras.layers.Layer]], int]] = {
  'gru': (lambda: [_L.GRU(_UNITS, return_sequences=True)], 1),
  'rnn_of_cell': (lambda: [_L.RNN(_L.GRUCell(_UNITS), return_sequences=True)], 1),
  'unrolled': (lambda: [_L.RNN(_L.GRUCell(_UNITS), return_sequences=True, unroll=True)], 1),
  'last_state_only': (lambda: [_L.GRU(_UNITS)], 1),
  'stacked': (lambda: [_L.GRU(_UNITS, return_sequences=True), _L.RNN(_L.GRUCell(2)), _L.Dense(3)], 2),
  'nested': (lambda: [_L.Dense(2), tf.keras.Sequential([_L.GRU(_UNITS, return_sequences=True), _L.GRU(2)])], 2),
  'forwards_half': (lambda: [_L.Bidirectional(_L.GRU(_UNITS))], 1),
}
_LEFT: dict[str, Callable[[], Sequence[tf.keras.layers.Layer]]] = {
  'reset_before': lambda: [_L.GRU(_UNITS, reset_after=False)],
  'activation': lambda: [_L.GRU(_UNITS, activation='relu')],
  'recurrent_activation': lambda: [_L.RNN(_L.GRUCell(_UNITS, recurrent_activation='hard_sigmoid'))],
  'no_bias': lambda: [_L.GRU(_UNITS, use_bias=False)],
  'backwards': lambda: [_L.GRU(_UNITS, go_backwards=True)],
  'time_first': lambda: [_L.GRU(_UNITS, time_major=True, return_sequences=True)],
  'dropout': lambda: [_L.GRU(_UNITS, dropout=0.5)],
  'recurrent_dropout': lambda: [_L.RNN(_L.GRUCell(_UNITS, recurrent_dropout=0.5))],
  'mask': lambda: [_L.Masking(), _L.GRU(_UNITS, return_sequences=True)],
  'lstm': lambda: [_L.LSTM(_UNITS)],
  'simple': lambda: [_L.SimpleRNN(_UNITS)],
  'stacked_cells': lambda: [_L.RNN([_L.GRUCell(_UNITS), _L.GRUCell(_UNITS)])],
}


def _numbers(seed: int, *shape: int) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _run_gru(inputs: tf.Tensor, *weights: tf.Tensor) -> list[tf.Tensor]:
  return derivatives.outputs_and_gradients(lambda values: gru_lib.gru(values, *weights), inputs, weights)


def _build(layers: Sequence[tf.keras.layers.Layer]) -> tf.keras.Model:
  model = tf.keras.Sequential([tf.keras.Input([_TIME, _FEATURES]), *layers])
  model.set_weights([_numbers(seed, *weight.shape) for seed, weight in enumerate(model.get_weights())])
  return model


def _keras_gru(inputs: np.ndarray, weights: Sequence[np.ndarray]) -> list[tf.Tensor]:
  layer = _L.RNN(_L.GRUCell(weights[1].shape[0]), return_sequences=True)
  layer.build(inputs.shape)
  layer.set_weights(weights)
  return derivatives.outputs_and_gradients(layer, tf.constant(inputs), layer.trainable_variables)


class RecurrenceTest(parameterized.TestCase):
  def _assert_same(self, found: Sequence[tf.Tensor], expected: Sequence[tf.Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
      one, other = map(tf.convert_to_tensor, (one, other))
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(other).max()))

  def _weights(self, features: int, units: int) -> list[np.ndarray]:
    scale = units**-0.5
    return [_numbers(1, features, 3 * units), _numbers(2, units, 3 * units) * scale, _numbers(3, 2, 3 * units)]

  @parameterized.named_parameters(
    (f'{name}_{"with" if xla else "without"}_xla', shape, xla)
    for (name, shape), xla in itertools.product(_SHAPES.items(), (False, True))
  )
  def test_outputs_and_gradients_are_those_of_keras(self, shape: tuple[int, int, int, int], xla: bool) -> None:
    batch, time, features, units = shape
    inputs, weights = _numbers(0, batch, time, features), self._weights(features, units)
    found = tf.function(_run_gru, jit_compile=xla)(*map(tf.constant, (inputs, *weights)))
    self.assertEqual(found[0].shape, (batch, time, units))
    self._assert_same(found, _keras_gru(inputs, weights))

  @parameterized.parameters(False, True)
  def test_batch_of_unknown_size(self, xla: bool) -> None:
    specs = [tf.TensorSpec(shape) for shape in ([None, 5, 3], [3, 12], [4, 12], [2, 12])]
    run = tf.function(_run_gru, input_signature=specs, jit_compile=xla)
    weights = self._weights(3, 4)
    for batch in (1, 6):
      inputs = _numbers(batch, batch, 5, 3)
      self._assert_same(run(inputs, *weights), _keras_gru(inputs, weights))

  @parameterized.parameters(False, True)
  def test_inside_a_loop(self, xla: bool) -> None:
    inputs, weights = _numbers(0, 2, 5, 3), self._weights(3, 4)

    def step(index: tf.Tensor, current: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
      gradients = _run_gru(tf.constant(inputs), *current)[2:]
      return index + 1, [weight - 0.1 * gradient for weight, gradient in zip(current, gradients, strict=True)]

    start = (tf.constant(0), list(map(tf.constant, weights)))
    train = tf.function(lambda: tf.while_loop(lambda index, _: index < 3, step, start)[1], jit_compile=xla)
    for _ in range(3):
      gradients = _keras_gru(inputs, weights)[2:]
      weights = [weight - 0.1 * gradient.numpy() for weight, gradient in zip(weights, gradients, strict=True)]
    self._assert_same(train(), weights)

  @parameterized.parameters(*_SHAPES.values())
  def test_unrolled_is_the_same_without_a_loop(self, batch: int, time: int, features: int, units: int) -> None:
    inputs, weights = _numbers(0, batch, time, features), self._weights(features, units)

    @tf.function
    def run(values: tf.Tensor, *others: tf.Tensor) -> list[tf.Tensor]:
      kernel, recurrent_kernel, bias = others
      return derivatives.outputs_and_gradients(
        lambda each: gru_lib.gru(each, kernel, recurrent_kernel, bias, unroll=True), values, others
      )

    arguments = list(map(tf.constant, (inputs, *weights)))
    self._assert_same(run(*arguments), _keras_gru(inputs, weights))
    operations = {each.type for each in run.get_concrete_function(*arguments).graph.get_operations()}
    self.assertEmpty({each for each in operations if each.startswith(('While', 'StatelessWhile', 'TensorList'))})

  def _compare_models(self, layers: Sequence[tf.keras.layers.Layer], expected_runs: int) -> None:
    model = _build(layers)
    inputs = _numbers(0, 3, _TIME, _FEATURES)
    inputs[1, 2:] = 0  # What `Masking` leaves out.
    run = lambda: derivatives.outputs_and_gradients(model, tf.constant(inputs), model.trainable_variables)  # noqa: E731
    expected = run()
    gru_lib.run_layers(model)
    with mock.patch.object(gru_lib, 'gru', wraps=gru_lib.gru) as gru:
      self._assert_same(run(), expected)
      self._assert_same(tf.function(run)(), expected)
    self.assertEqual(gru.call_count, 2 * expected_runs)

  @parameterized.named_parameters((name, *case) for name, case in _RUN.items())
  def test_runs_layers(self, layers: Callable[[], Sequence[tf.keras.layers.Layer]], expected_runs: int) -> None:
    self._compare_models(layers(), expected_runs)

  @parameterized.named_parameters(_LEFT.items())
  def test_leaves_other_layers_to_keras(self, layers: Callable[[], Sequence[tf.keras.layers.Layer]]) -> None:
    self._compare_models(layers(), expected_runs=0)

  def test_leaves_an_initial_state_to_keras(self) -> None:
    inputs = tf.keras.Input([_TIME, _FEATURES])
    states = _L.GRU(_UNITS)(inputs, initial_state=_L.Dense(_UNITS)(inputs[:, 0]))
    model = tf.keras.Model(inputs, states)
    values = tf.constant(_numbers(0, 3, _TIME, _FEATURES))
    expected = model(values)
    gru_lib.run_layers(model)
    self._assert_same([model(values)], [expected])


if __name__ == '__main__':
  absltest.main()
