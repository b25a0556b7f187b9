"""Tests that windows are cut out and put back; gradients_test has those of layers."""

import math
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from export.on_device import windows as windows_lib


def _of(shape: list[int], **arguments: Any) -> windows_lib.Windows:
  """Returns the windows of a pool."""
  with tf.Graph().as_default():
    pooled = tf.nn.max_pool2d(tf.zeros(shape), **arguments)
    operation = next(each for each in pooled.graph.get_operations() if each.type == 'MaxPool')
    return windows_lib.of(operation, operation.get_attr('ksize')[1:3])


class WindowsTest(parameterized.TestCase):
  def test_cuts_the_numbers_of_all_windows(self) -> None:
    windows = _of([1, 3, 3, 1], ksize=2, strides=1, padding='VALID')
    images = tf.reshape(tf.range(9.0), [1, 3, 3, 1])
    cut = [each.numpy().reshape(-1).tolist() for each in windows.cut(images)]
    self.assertEqual(cut, [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]])

  def test_pads_as_tensorflow_does(self) -> None:
    windows = _of([1, 3, 3, 1], ksize=2, strides=2, padding='SAME')
    cut = [each.numpy().reshape(-1).tolist() for each in windows.cut(tf.ones([1, 3, 3, 1]), -5.0)]
    self.assertEqual(cut, [[1, 1, 1, 1], [1, -5, 1, -5], [1, 1, -5, -5], [1, -5, -5, -5]])

  @parameterized.product(size=(2, 3), stride=(1, 2, 3), padding=('VALID', 'SAME'))
  def test_adds_up_what_it_cuts(self, size: int, stride: int, padding: str) -> None:
    windows = _of([2, 7, 8, 3], ksize=size, strides=stride, padding=padding)
    images = np.random.default_rng(1).normal(size=(2, 7, 8, 3)).astype(np.float32)
    counts = windows.add(windows.cut(tf.ones_like(images)))
    # Each number comes back as often as it is in a window.
    np.testing.assert_allclose(windows.add(windows.cut(images)), images * counts, rtol=1e-5)
    self.assertEqual(float(tf.reduce_max(counts)), float(math.ceil(size / stride) ** 2))

  def test_names_the_operation_that_has_no_windows(self) -> None:
    with self.assertRaisesRegex(
      LookupError, r"^No gradient defined for operation 'MaxPool2d' \(op type: MaxPool\) with"
    ):
      _of([1, 1, 3, 3], ksize=2, strides=1, padding='VALID', data_format='NCHW')


if __name__ == '__main__':
  absltest.main()
