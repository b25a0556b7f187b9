"""Tests that gradients of built-in operations are those of TensorFlow, layer by layer."""

from collections.abc import Callable, Sequence

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from export.on_device import gradients

_L = tf.keras.layers
_LAYERS: dict[str, tuple[Callable[[], tf.keras.layers.Layer], Sequence[int]]] = {
  'relu': (lambda: _L.ReLU(), [7]),
  'relu6': (lambda: _L.ReLU(6.0), [7]),
  'leaky_relu': (lambda: _L.LeakyReLU(0.2), [7]),
  'elu': (lambda: _L.ELU(), [7]),
  'dense': (lambda: _L.Dense(5, activation='relu'), [7]),
  'convolution': (lambda: _L.Conv2D(4, 3, activation='relu'), [8, 7, 2]),
  'convolution_padded': (lambda: _L.Conv2D(4, (3, 2), padding='same'), [8, 7, 2]),
  'convolution_with_strides': (lambda: _L.Conv2D(4, 3, strides=(2, 3), padding='same'), [8, 7, 2]),
  'convolution_that_misses_the_end': (lambda: _L.Conv2D(4, 2, strides=3), [8, 7, 2]),
  'convolution_dilated': (lambda: _L.Conv2D(4, 3, dilation_rate=2), [8, 7, 2]),
  'convolution_dilated_and_padded': (lambda: _L.Conv2D(4, 3, dilation_rate=2, padding='same'), [8, 7, 2]),
  'convolution_over_time': (lambda: _L.Conv1D(4, 5, padding='same', activation='relu'), [9, 3]),
  'convolution_causal': (lambda: _L.Conv1D(4, 2, padding='causal', dilation_rate=2), [9, 3]),
  'depthwise': (lambda: _L.DepthwiseConv2D(3, depth_multiplier=2, padding='same'), [8, 7, 2]),
  'depthwise_with_strides': (lambda: _L.DepthwiseConv2D(3, strides=2), [8, 7, 2]),
  'separable': (lambda: _L.SeparableConv2D(4, 3), [8, 7, 2]),
  'max_pool': (lambda: _L.MaxPooling2D(), [8, 7, 2]),
  'max_pool_padded': (lambda: _L.MaxPooling2D(3, padding='same'), [8, 7, 2]),
  'max_pool_that_overlaps': (lambda: _L.MaxPooling2D(3, strides=2, padding='same'), [8, 7, 2]),
  'max_pool_over_time': (lambda: _L.MaxPooling1D(padding='same'), [9, 3]),
  'average_pool': (lambda: _L.AveragePooling2D(3, strides=2, padding='same'), [8, 7, 2]),
  'average_pool_over_time': (lambda: _L.AveragePooling1D(), [9, 3]),
  'global_average_pool': (lambda: _L.GlobalAveragePooling2D(), [8, 7, 2]),
  'layer_normalization': (lambda: _L.LayerNormalization(epsilon=0.01), [8, 7, 2]),
  'layer_normalization_of_small_variances': (lambda: _L.LayerNormalization(epsilon=1e-6), [8, 7, 2]),
  'last': (lambda: _L.Lambda(lambda values: values[:, -1]), [8, 7, 2]),
  'part_beyond_the_end': (lambda: _L.Lambda(lambda values: values[:, 2:100, -100:1]), [8, 7, 2]),
  'part_of_one': (lambda: _L.Lambda(lambda values: values[:, -2, 1:]), [8, 7, 2]),
  'root': (lambda: _L.Lambda(lambda values: tf.sqrt(tf.abs(values) + 1)), [7]),
  'part': (lambda: _L.Lambda(lambda values: values[:, 2:-1, :3]), [8, 7, 2]),
  'group_normalization': (lambda: _L.GroupNormalization(2), [8, 7, 4]),
}
# Kernels that only TensorFlow has.
_FLEX = {
  *('ReluGrad', 'Relu6Grad', 'LeakyReluGrad', 'EluGrad', 'MaxPoolGrad', 'AvgPoolGrad', 'Conv2DBackpropFilter'),
  *('DepthwiseConv2dNativeBackpropFilter', 'DepthwiseConv2dNativeBackpropInput', 'FusedBatchNormGradV3'),
  *('RsqrtGrad', 'SqrtGrad', 'StridedSliceGrad'),
}


def _differentiate(
  layer: tf.keras.layers.Layer, inputs: np.ndarray, is_built_in: bool
) -> tuple[list[np.ndarray], set[str]]:
  """Returns the gradients by inputs and weights, and the operations that compute them."""

  @tf.function(autograph=False)
  def run(values: tf.Tensor) -> list[tf.Tensor]:
    if is_built_in:
      with gradients.built_in():
        outputs = layer(values)
    else:
      outputs = layer(values)
    shares = tf.reshape(tf.cos(tf.range(outputs.shape.num_elements(), dtype=tf.float32)), outputs.shape)
    found: list[tf.Tensor] = tf.gradients(outputs, [values, *layer.trainable_variables], shares)
    return found

  traced = run.get_concrete_function(tf.TensorSpec(inputs.shape))
  return [one.numpy() for one in traced(tf.constant(inputs))], {each.type for each in traced.graph.get_operations()}


class GradientsTest(parameterized.TestCase):
  @parameterized.named_parameters((name, *case) for name, case in _LAYERS.items())
  def test_is_that_of_tensorflow(self, build: Callable[[], tf.keras.layers.Layer], shape: Sequence[int]) -> None:
    tf.keras.utils.set_random_seed(1)
    layer, inputs = build(), np.random.default_rng(2).normal(size=(3, *shape)).astype(np.float32)
    layer(inputs)
    expected, _ = _differentiate(layer, inputs, is_built_in=False)
    found, operations = _differentiate(layer, inputs, is_built_in=True)
    for one, other in zip(found, expected, strict=True):
      self.assertGreater(np.abs(other).max(), 1e-3)
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
    self.assertEmpty(operations & _FLEX)

  def test_the_first_of_equal_numbers_takes_the_gradient(self) -> None:
    layer, inputs = _L.MaxPooling2D(2, strides=2), np.ones((1, 2, 2, 1), np.float32)
    found, _ = _differentiate(layer, inputs, is_built_in=True)
    self.assertEqual(found[0].reshape(-1).tolist(), [1, 0, 0, 0])

  def test_a_part_with_gaps_has_no_gradient(self) -> None:
    layer, inputs = _L.Lambda(lambda values: values[:, ::2]), np.ones((1, 6), np.float32)
    with self.assertRaisesRegex(LookupError, 'op type: StridedSlice'):
      _differentiate(layer, inputs, is_built_in=True)

  def test_a_part_whose_strides_are_not_known_has_no_gradient(self) -> None:
    def cut(values: tf.Tensor) -> tf.Tensor:
      return tf.reshape(tf.strided_slice(values, [0, 0], [1, 6], tf.cast(values[0, :2], tf.int32)), [1, 6])

    with self.assertRaisesRegex(LookupError, 'op type: StridedSlice'):
      _differentiate(_L.Lambda(cut), np.ones((1, 6), np.float32), is_built_in=True)

  def test_a_part_of_nothing_has_a_gradient_of_zeros(self) -> None:
    layer = _L.Lambda(lambda values: tf.concat([values[:, 5:2], values[:, 6:9], values[:, :1]], axis=1))
    found, _ = _differentiate(layer, np.ones((1, 6), np.float32), is_built_in=True)
    self.assertEqual(found[0].tolist(), [[1, 0, 0, 0, 0, 0]])

  def test_what_has_no_gradient_is_named(self) -> None:
    kernel, inputs = np.ones((3, 3, 1, 4), np.float32), np.ones((1, 5, 5, 2), np.float32)
    layer = _L.Lambda(lambda images: tf.nn.conv2d(images, kernel, 1, 'VALID'), name='in_groups')
    with self.assertRaisesRegex(LookupError, r"No gradient defined for operation '.*Conv2D' \(op type: Conv2D\)"):
      _differentiate(layer, inputs, is_built_in=True)


if __name__ == '__main__':
  absltest.main()
