"""Tests that what is traced for XLA and compiled afterwards is as XLA wants it, and that nothing else changes."""

from collections.abc import Callable
import contextlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks.runtime import xla


def _loop(numbers: tf.Tensor) -> tf.Tensor:
  halve = lambda values: tf.cond(values[0] > 1, lambda: values / 2, lambda: values)  # noqa: E731
  return tf.while_loop(lambda index, _: index < 3, lambda index, values: (index + 1, halve(values)), (0, numbers))[1]


def _in_graph(function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Graph:
  """Traces as TFF does."""
  with tf.Graph().as_default() as graph:
    function(tf.compat.v1.placeholder(tf.float32, [2]))
  return graph


def _in_function(function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Graph:
  return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([2])).graph


def _lowered(graph: tf.Graph) -> list[tuple[str, bool]]:
  """Returns all control flow, and whether TensorFlow is to make single operations of it before it runs."""
  definition = graph.as_graph_def()
  nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
  found = [(node.op.removeprefix('Stateless'), node.attr['_lower_using_switch_merge'].b) for node in nodes]
  return [(name, is_lowered) for name, is_lowered in found if name in ('While', 'If')]


def _within(numbers: tf.Tensor) -> tf.Tensor:
  with xla.loops():
    return _loop(numbers)


def _after(numbers: tf.Tensor) -> tf.Tensor:
  with xla.loops():
    numbers += 1
  return _loop(numbers)


def _after_an_error(numbers: tf.Tensor) -> tf.Tensor:
  with contextlib.suppress(ZeroDivisionError), xla.loops():
    raise ZeroDivisionError
  return _loop(numbers)


_TRACES = (('in_graph', _in_graph), ('in_function', _in_function))


class FindSlowTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda images: tf.nn.conv2d(images, tf.ones([2, 2, 1, 3]), 1, 'VALID'), 'Conv2D'),
    (
      lambda images: tf.nn.depthwise_conv2d(images, tf.ones([2, 2, 1, 3]), [1, 1, 1, 1], 'VALID'),
      'DepthwiseConv2dNative',
    ),
    (lambda images: tf.nn.max_pool2d(tf.nn.relu(images), 2, 2, 'VALID'), ''),
    (lambda images: tf.matmul(images, images, transpose_b=True), ''),
  )
  def test_convolutions(self, function: Callable[[tf.Tensor], tf.Tensor], expected: str) -> None:
    with tf.Graph().as_default() as plain:
      function(tf.compat.v1.placeholder(tf.float32, [1, 4, 4, 1]))
    with tf.Graph().as_default() as in_function:
      tf.function(function, autograph=False)(tf.compat.v1.placeholder(tf.float32, [1, 4, 4, 1]))
    for graph in (plain, in_function):
      self.assertEqual(xla.find_slow(graph.as_graph_def()), expected)


class LoopsTest(parameterized.TestCase):
  @parameterized.named_parameters(*_TRACES)
  def test_loops_within_stay_as_they_are(self, trace: Callable[..., tf.Graph]) -> None:
    self.assertEqual(_lowered(trace(_within)), [('While', False), ('If', False)])

  @parameterized.named_parameters(*_TRACES)
  def test_loops_elsewhere_are_not_touched(self, trace: Callable[..., tf.Graph]) -> None:
    for function in (_loop, _after, _after_an_error):
      self.assertEqual(_lowered(trace(function)), [('While', True), ('If', True)])

  def test_what_is_computed_stays_the_same(self) -> None:
    numbers = tf.constant([3.0, 4.0])
    for function, is_compiled in ((_within, False), (_within, True), (_loop, False)):
      np.testing.assert_array_equal(tf.function(function, jit_compile=is_compiled)(numbers), [0.75, 1.0])

  def test_recurrent_layers_traced_within_can_be_compiled_afterwards(self) -> None:
    layer = tf.keras.layers.RNN(tf.keras.layers.LSTMCell(3))
    inputs = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 5)), tf.float32)

    def gradient(values: tf.Tensor) -> tf.Tensor:
      with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = layer(values)
      return tape.gradient(outputs, values)

    def gradient_within(values: tf.Tensor) -> tf.Tensor:
      with xla.loops():
        return gradient(values)

    expected = gradient(inputs)
    traced = tf.compat.v1.wrap_function(gradient_within, [tf.TensorSpec(inputs.shape)])
    np.testing.assert_allclose(tf.function(traced, jit_compile=True)(inputs), expected, rtol=1e-5, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
