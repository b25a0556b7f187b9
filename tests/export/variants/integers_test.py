"""Tests that files of integers have no operation on floats, and that layers with such operations are named."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pytest
import tensorflow as tf

from export import flex
from export import operations
from export import parity
from export.variants import integers
from models import unsupported

pytestmark = pytest.mark.slow


def _build(layer: tf.keras.layers.Layer) -> tf.keras.Model:
  inputs = tf.keras.Input((6, 6, 4), batch_size=1)
  values = layer(tf.keras.layers.Conv2D(8, 3, name='convolution')(inputs))
  return tf.keras.Model(inputs, tf.keras.layers.Dense(5)(tf.keras.layers.Flatten()(values)))


def _convert(layer: tf.keras.layers.Layer) -> bytes:
  examples = parity.Examples(np.random.default_rng(1).normal(size=(8, 6, 6, 4)), np.zeros(8, int))
  model = _build(layer)
  return integers.convert(integers.build_converter(model, examples), model)


class IntegersTest(parameterized.TestCase):
  @parameterized.parameters(
    # Of the first two, the converter would leave operations on floats in the file, of the last it makes none.
    (
      tf.keras.layers.GroupNormalization(4, name='groups'),
      r'found DIV \(layer groups\), SQUARE \(layer groups\): take',
    ),
    (tf.keras.layers.ELU(name='unit'), r'found ELU \(layer unit\): take dynamic_range'),
    (tf.keras.layers.Lambda(lambda values: tf.cumsum(values, 1), name='sums'), r'found CUMSUM \(layer sums\): take'),
  )
  def test_names_what_has_no_kernel(self, layer: tf.keras.layers.Layer, message: str) -> None:
    with self.assertRaisesRegex(
      unsupported.Unsupported, f'^Expected operations that have kernels of integers, {message}'
    ):
      _convert(layer)

  def test_all_are_of_integers(self) -> None:
    found = operations.read(_convert(tf.keras.layers.LayerNormalization()))
    self.assertEqual(operations.find_floats(found), [])
    self.assertEqual([each.name for each in found if each.has_floats], ['QUANTIZE', 'DEQUANTIZE'])

  def test_flex_is_allowed_beside_operations_on_integers_too(self) -> None:
    model = _build(tf.keras.layers.ReLU())
    examples = parity.Examples(np.zeros((1, 6, 6, 4)), np.zeros(1, int))
    for is_allowed, more in ((False, []), (True, [tf.lite.OpsSet.SELECT_TF_OPS])):
      with flex.allowing(is_allowed):
        found = integers.build_converter(model, examples).target_spec.supported_ops
      self.assertEqual(found, [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, *more])


if __name__ == '__main__':
  absltest.main()
