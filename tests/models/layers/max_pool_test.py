"""Tests that pooling gives the numbers of TensorFlow and Keras, and the gradients, equal numbers included."""

from collections.abc import Callable, Sequence
import functools
import itertools
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models import functional_model
from models.layers import max_pool as max_pool_lib
from models.tasks import handwriting
from tests.tff_tasks import derivatives

_L = tf.keras.layers
_XLA = (('without_xla', False), ('with_xla', True))

# Batch, height, width, channels.
_SHAPES = {'square': (3, 6, 6, 2), 'high': (2, 8, 2, 3), 'wide': (2, 2, 10, 1), 'one_window': (1, 2, 2, 1)}

# Layers, and how many of them `max_pool` runs.
_RUN: dict[str, tuple[Callable[[], Sequence[tf.keras.layers.Layer]], int]] = {
  'defaults': (lambda: [_L.MaxPooling2D()], 1),
  'spelled_out': (lambda: [_L.MaxPool2D(pool_size=2, strides=[2, 2], padding='VALID')], 1),
  'twice': (lambda: [_L.MaxPooling2D(), _L.Conv2D(2, 2), _L.MaxPooling2D(2)], 2),
  'beside_others': (lambda: [_L.MaxPooling2D(3, strides=1), _L.MaxPooling2D(), _L.AveragePooling2D()], 1),
  'nested': (lambda: [_L.Conv2D(2, 2), tf.keras.Sequential([_L.MaxPooling2D(), _nested()])], 2),
  'distributed': (lambda: [_L.Reshape([1, 9, 11, 2]), _L.TimeDistributed(_L.MaxPooling2D())], 1),
}
_LEFT: dict[str, Callable[[], tf.keras.layers.Layer]] = {
  'larger': lambda: _L.MaxPooling2D(3),
  'overlapping': lambda: _L.MaxPooling2D(2, strides=1),
  'apart': lambda: _L.MaxPooling2D(2, strides=3),
  'flat': lambda: _L.MaxPooling2D((1, 2)),
  'strides_differ': lambda: _L.MaxPooling2D(2, strides=(2, 1)),
  'padded': lambda: _L.MaxPooling2D(padding='same'),
  'average': lambda: _L.AveragePooling2D(),
  'of_its_own': lambda: _Doubled(),
}


def _nested() -> tf.keras.Model:
  images = tf.keras.Input([4, 5, 2])
  return tf.keras.Model(images, _L.MaxPooling2D()(images))


class _Doubled(tf.keras.layers.MaxPooling2D):
  """What somebody made of the layer."""

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    return 2 * super().call(inputs)


def _images(seed: int, *shape: int) -> np.ndarray:
  """Returns small integers: most windows hold their largest number more than once."""
  return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)


_run_ours = functools.partial(derivatives.outputs_and_gradients, max_pool_lib.max_pool)
_run_tensorflow = functools.partial(
  derivatives.outputs_and_gradients, lambda images: tf.nn.max_pool2d(images, 2, 2, 'VALID')
)


def _assert_same(found: Sequence[tf.Tensor], expected: Sequence[tf.Tensor]) -> None:
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(other).max()))


class MaxPoolTest(parameterized.TestCase):
  @parameterized.named_parameters(
    (f'{name}_{way}', shape, xla) for (name, shape), (way, xla) in itertools.product(_SHAPES.items(), _XLA)
  )
  def test_outputs_and_gradients_are_those_of_tensorflow(self, shape: tuple[int, ...], xla: bool) -> None:
    images = tf.constant(_images(0, *shape))
    found = tf.function(_run_ours, jit_compile=xla)(images)
    batch, height, width, channels = shape
    self.assertEqual(found[0].shape, (batch, height // 2, width // 2, channels))
    _assert_same(found, _run_tensorflow(images))

  @parameterized.named_parameters(*_XLA)
  def test_the_first_of_the_largest_takes_the_gradient(self, xla: bool) -> None:
    """Windows with every way to share the largest number."""
    windows = np.array(list(itertools.product((0, 1), repeat=4)), np.float32).reshape(16, 2, 2, 1)
    expected = np.zeros((16, 4))
    expected[np.arange(16), windows.reshape(16, 4).argmax(axis=1)] = np.cos(np.arange(16))
    _, gradient = tf.function(_run_ours, jit_compile=xla)(tf.constant(windows))
    np.testing.assert_allclose(gradient, expected.reshape(16, 2, 2, 1), rtol=1e-6)
    _assert_same([gradient], _run_tensorflow(tf.constant(windows))[1:])

  @parameterized.named_parameters(*_XLA)
  def test_batch_of_unknown_size(self, xla: bool) -> None:
    run = tf.function(_run_ours, input_signature=[tf.TensorSpec([None, 4, 6, 2])], jit_compile=xla)
    for batch in (1, 5):
      images = tf.constant(_images(batch, batch, 4, 6, 2))
      _assert_same(run(images), _run_tensorflow(images))

  @parameterized.named_parameters(*_XLA)
  def test_inside_a_loop(self, xla: bool) -> None:
    def train(run: Callable[[tf.Tensor], list[tf.Tensor]]) -> tf.Tensor:
      step = lambda index, images: (index + 1, images - run(images)[1])  # noqa: E731
      return tf.while_loop(lambda index, _: index < 3, step, (tf.constant(0), tf.constant(_images(0, 2, 4, 4, 1))))[1]

    found = tf.function(lambda: train(_run_ours), jit_compile=xla)()
    _assert_same([found], [train(_run_tensorflow)])


class RunLayersTest(parameterized.TestCase):
  def _compare(
    self, layers: Sequence[tf.keras.layers.Layer], shape: tuple[int, int, int], expected_runs: int, xla: bool = False
  ) -> None:
    model = tf.keras.Sequential([tf.keras.Input(shape), *layers])
    run = lambda images: derivatives.outputs_and_gradients(model, images, model.trainable_variables)  # noqa: E731
    images = tf.constant(_images(0, 3, *shape))
    expected = run(images)
    max_pool_lib.run_layers(model)
    with mock.patch.object(max_pool_lib, 'max_pool', wraps=max_pool_lib.max_pool) as max_pool:
      _assert_same(run(images), expected)
      _assert_same(tf.function(run, jit_compile=xla)(images), expected)
    self.assertEqual(max_pool.call_count, 2 * expected_runs)

  @parameterized.named_parameters((name, *case) for name, case in _RUN.items())
  def test_runs_layers(self, layers: Callable[[], Sequence[tf.keras.layers.Layer]], expected_runs: int) -> None:
    self._compare(layers(), (9, 11, 2), expected_runs)

  @parameterized.parameters(*itertools.product(((6, 6), (7, 6), (6, 7), (7, 7), (3, 2)), (False, True)))
  def test_crops_odd_sizes_as_keras_does(self, size: tuple[int, int], xla: bool) -> None:
    self._compare([_L.MaxPooling2D()], (*size, 2), 1, xla)

  @parameterized.named_parameters(_LEFT.items())
  def test_leaves_other_layers_to_keras(self, layer: Callable[[], tf.keras.layers.Layer]) -> None:
    self._compare([layer()], (7, 9, 2), expected_runs=0)

  def test_leaves_channels_that_come_first_to_keras(self) -> None:
    """TensorFlow pools those on a processor with XLA only, which the model is not traced for here."""
    model = tf.keras.Sequential([tf.keras.Input([2, 6, 8]), _L.MaxPooling2D(data_format='channels_first')])
    max_pool_lib.run_layers(model)
    images = _images(0, 3, 2, 6, 8)
    found = tf.function(model, jit_compile=True)(tf.constant(images))
    np.testing.assert_array_equal(found, images.reshape(3, 2, 3, 2, 4, 2).max(axis=(3, 5)))


class HandwritingTest(parameterized.TestCase):
  @parameterized.named_parameters(*_XLA)
  def test_a_functional_model_gives_the_logits_and_gradients_of_keras(self, xla: bool) -> None:
    feature, label = schema_lib.Feature('image', 'uint8', (12, 14)), schema_lib.Feature('character', 'int8', ())
    schema = schema_lib.Schema('handwriting', feature, label, tuple('abc'))
    model = functional_model.FunctionalModel(lambda: handwriting.build_model(schema, 5), 1)
    keras_model = handwriting.build_model(schema, 5)
    keras_model.set_weights(model.initial_weights)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 12, 14)).astype(np.float32))
    expected = derivatives.outputs_and_gradients(keras_model, images, keras_model.trainable_variables)
    run = lambda weights: derivatives.outputs_and_gradients(lambda inputs: model(weights, inputs), images, weights)  # noqa: E731
    with mock.patch.object(max_pool_lib, 'max_pool', wraps=max_pool_lib.max_pool) as max_pool:
      found = tf.function(run, jit_compile=xla, autograph=False)(list(map(tf.constant, model.initial_weights)))
    self.assertEqual(max_pool.call_count, 2)
    _assert_same(found, expected)


if __name__ == '__main__':
  absltest.main()
