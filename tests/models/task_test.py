"""Tests of the sums of loss and accuracy, against NumPy and with labels that do not count."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from models import task
from pipelines import schema as schema_lib

_IGNORED = schema_lib.IGNORED_LABEL


def _sums(labels: np.ndarray, logits: np.ndarray) -> list[np.ndarray]:
  return [value.numpy() for value in task.sums(tf.constant(labels, tf.int32), tf.constant(logits, tf.float32))]


class SumsTest(parameterized.TestCase):
  def test_by_hand(self) -> None:
    logits = np.log([[[1.0, 2.0, 5.0], [6.0, 1.0, 1.0]], [[1.0, 1.0, 2.0], [1.0, 2.0, 1.0]]])
    loss, correct, count = _sums(np.array([[2, 1], [0, _IGNORED]]), logits)
    np.testing.assert_allclose(loss, -np.log([5 / 8 * 1 / 8, 1 / 4]), rtol=1e-6)
    np.testing.assert_array_equal(correct, [1, 0])
    np.testing.assert_array_equal(count, [2, 1])

  @parameterized.parameters(((),), ((5,),), ((3, 2),))
  def test_like_numpy(self, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(_IGNORED, 6, (4, *shape))
    logits = rng.normal(0, 3, (4, *shape, 6))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    counts = labels != _IGNORED
    chosen = np.take_along_axis(probabilities, np.maximum(labels, 0)[..., np.newaxis], axis=-1)[..., 0]
    axes = tuple(range(1, labels.ndim))
    loss, correct, count = _sums(labels, logits)
    np.testing.assert_allclose(loss, np.where(counts, -np.log(chosen), 0).sum(axis=axes), rtol=1e-5)
    np.testing.assert_array_equal(correct, (counts & (logits.argmax(axis=-1) == labels)).sum(axis=axes))
    np.testing.assert_array_equal(count, counts.sum(axis=axes))

  @parameterized.parameters(1e30, -1e30, np.inf, -np.inf, np.nan)
  def test_ignored_labels_do_not_count_whatever_the_logits(self, wild: float) -> None:
    labels = np.array([[1, _IGNORED], [_IGNORED, _IGNORED]])
    logits = np.zeros((2, 2, 4))
    logits[labels == _IGNORED, ::2] = wild
    loss, correct, count = _sums(labels, logits)
    np.testing.assert_allclose(loss, [np.log(4), 0], rtol=1e-6)
    np.testing.assert_array_equal(correct, [0, 0])
    np.testing.assert_array_equal(count, [1, 0])

  def test_ignored_labels_have_no_gradient(self) -> None:
    logits = tf.Variable([[[0.5, -1.0], [3.0, 2.0]]])
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(task.sums(tf.constant([[1, _IGNORED]]), logits).loss)
    gradient = tape.gradient(loss, logits).numpy()
    self.assertNotEqual(gradient[0, 0, 0], 0.0)
    np.testing.assert_array_equal(gradient[0, 1], [0, 0])

  def test_sums_are_of_floats(self) -> None:
    sums = task.sums(tf.constant([1]), tf.zeros([1, 3]))
    self.assertEqual([value.dtype for value in sums], [tf.float32] * 3)


if __name__ == '__main__':
  absltest.main()
