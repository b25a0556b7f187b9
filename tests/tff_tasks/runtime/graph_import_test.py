"""Tests that an imported computation gives what TFF gives, and that what cannot be imported is refused."""

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import graph_import


class _Element(NamedTuple):
  z: Any
  a: Any


def _call(computation: Any, *arguments: Any) -> list[Any]:
  function = graph_import.import_computation(computation)
  return [value.numpy().tolist() for value in function([tf.convert_to_tensor(argument) for argument in arguments])]


class ImportedTest(parameterized.TestCase):
  def test_without_arguments(self) -> None:
    self.assertEqual(_call(tff.tensorflow.computation(lambda: (tf.constant(3), tf.constant([1.5])))), [3, [1.5]])

  def test_arguments_and_results_are_in_the_order_of_the_type(self) -> None:
    parameter_type = collections.OrderedDict(z=np.int32, a=(np.float32, tff.TensorType(np.int32, (2,))))

    @tff.tensorflow.computation(parameter_type)
    def compute(value: Any) -> Any:
      first, second = value['a']
      return collections.OrderedDict(y=-value['z'], b=[second + 1, first / 2])

    self.assertEqual(_call(compute, 7, 5.0, [1, 2]), [-7, [2, 3], 2.5])

  def test_an_argument_that_is_not_used(self) -> None:
    compute = tff.tensorflow.computation(lambda one, other: one + 1, (np.int32, np.float32))
    self.assertEqual(_call(compute, 1, 5.0), [2])

  def test_an_argument_that_is_a_result(self) -> None:
    compute = tff.tensorflow.computation(lambda one, other: (other, one, one), (np.int32, np.float32))
    self.assertEqual(_call(compute, 1, 5.0), [5.0, 1, 1])

  @parameterized.parameters(False, True)
  def test_a_sequence_is_its_only_element(self, use_xla: bool) -> None:
    element = _Element(z=tff.TensorType(np.int32, (None,)), a=np.float32)

    @tff.tensorflow.computation(np.float32, tff.SequenceType(element))
    def compute(scale: tf.Tensor, dataset: tf.data.Dataset) -> Any:
      value = dataset.get_single_element()
      return tf.reduce_sum(value.z), scale * value.a

    function = tf.function(graph_import.import_computation(compute), jit_compile=use_xla, autograph=False)
    for length in (3, 1, 0):
      numbers = np.arange(length, dtype=np.int32)
      total, scaled = function([tf.constant(10.0), tf.constant(numbers), tf.constant(0.5)])
      self.assertEqual((total.numpy(), scaled.numpy()), (numbers.sum(), 5.0))

  def test_loops_and_conditions(self) -> None:
    @tff.tensorflow.computation(np.int32)
    def factorial(number: tf.Tensor) -> tf.Tensor:
      return tf.while_loop(lambda index, _: index > 1, lambda index, value: (index - 1, value * index), (number, 1))[1]

    self.assertEqual(_call(factorial, 5), [120])

  def test_operations_that_belong_together_are_imported_apart(self) -> None:
    # As the gradient of a variable's use: it names an operation that is not needed, and that is cut off.
    @tff.tensorflow.computation(np.float32, np.float32)
    def compute(value: tf.Tensor, other: tf.Tensor) -> Any:
      unused = tf.square(other)
      with tf.Graph.colocate_with(tf.compat.v1.get_default_graph(), unused.op):
        return tf.negative(value), unused

    function = graph_import.import_computation(compute, results=[0])
    self.assertEqual(function([tf.constant(2.0), None])[0].numpy(), -2.0)

  def test_functions_of_the_same_name_do_not_meet(self) -> None:
    def build(factor: int) -> Any:
      @tf.function
      def scale(value: tf.Tensor) -> tf.Tensor:
        return factor * value

      return graph_import.import_computation(tff.tensorflow.computation(scale, np.int32))

    functions = [build(factor) for factor in (2, 3, 5)]
    self.assertEqual([function([tf.constant(7)])[0].numpy() for function in functions], [14, 21, 35])

  def test_two_of_them_in_one_graph_compiled_by_xla(self) -> None:
    @tf.function
    def scale(value: tf.Tensor) -> tf.Tensor:
      return tf.while_loop(lambda index, _: index < 3, lambda index, value: (index + 1, 2.0 * value), (0, value))[1]

    double = graph_import.import_computation(tff.tensorflow.computation(scale, np.float32))
    again = graph_import.import_computation(tff.tensorflow.computation(scale, np.float32))
    both = tf.function(lambda value: again(double([value])), jit_compile=True, autograph=False)
    self.assertEqual(both(tf.constant(1.0))[0].numpy(), 64.0)

  def test_what_no_result_needs_is_not_in_the_way_of_xla(self) -> None:
    """As when Keras builds a model in a loop: its symbolic inputs are placeholders, which XLA refuses."""

    @tff.tensorflow.computation(np.float32)
    def compute(value: tf.Tensor) -> tf.Tensor:
      def body(index: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        tf.compat.v1.placeholder(tf.float32, [None, 3], name='left_behind')
        return index + 1, 2.0 * value

      return tf.while_loop(lambda index, _: index < 3, body, (0, value))[1]

    compiled = tf.function(graph_import.import_computation(compute), jit_compile=True, autograph=False)
    self.assertEqual(compiled([tf.constant(1.0)])[0].numpy(), 8.0)

  def test_random_numbers_of_a_seed_are_tffs(self) -> None:
    @tff.tensorflow.computation(tff.TensorType(np.int32, (2,)))
    def draw(seed: tf.Tensor) -> tf.Tensor:
      return tf.random.stateless_normal([4], seed, alg='philox')

    expected = tf.random.stateless_normal([4], [1, 2], alg='philox').numpy().tolist()
    self.assertEqual(_call(draw, [1, 2]), [expected])

  def test_federated_computations_are_refused(self) -> None:
    compute = tff.federated_computation(lambda value: value, np.int32)
    with self.assertRaisesRegex(ValueError, '^Expected a TensorFlow computation, found '):
      graph_import.import_computation(compute)

  @parameterized.named_parameters(
    ('reduced', lambda dataset: dataset.reduce(np.float32(0), lambda total, one: total + one.a), 'ReduceDataset'),
    ('batched', lambda dataset: dataset.batch(2).get_single_element().a[0], 'BatchDataset'),
    (
      'read_and_reduced',
      lambda dataset: dataset.get_single_element().a + dataset.reduce(np.float32(0), lambda total, one: total + one.a),
      'DatasetToSingleElement.*ReduceDataset',
    ),
    ('not_read', lambda dataset: tf.constant(1.0), r'\[\]'),
  )
  def test_a_sequence_of_many_is_refused(self, read: Callable[[tf.data.Dataset], tf.Tensor], found: str) -> None:
    compute = tff.tensorflow.computation(read, tff.SequenceType(_Element(z=np.int32, a=np.float32)))
    uses: list[Callable[[Any], Any]] = [graph_import.import_computation, graph_import.read_graph]
    for use in uses:
      with self.assertRaisesRegex(
        ValueError, f'^Expected a graph that reads one element of its sequence, found .*{found}'
      ):
        use(compute)


class SomeResultsTest(parameterized.TestCase):
  """Which arguments a result depends on, and only some of the results."""

  def setUp(self) -> None:
    super().setUp()
    element = _Element(z=tff.TensorType(np.int32, (None,)), a=np.float32)

    @tff.tensorflow.computation(
      np.float32, tff.SequenceType(element), collections.OrderedDict(y=np.float32, b=np.int32)
    )
    def compute(scale: tf.Tensor, dataset: tf.data.Dataset, others: Any) -> Any:
      # Each part of a process that looks at a client's data reads its element anew.
      one, again, more = (dataset.get_single_element() for _ in range(3))
      total = tf.while_loop(lambda number, _: number < 3, lambda number, sum_: (number + 1, sum_ + again.a), (0, scale))
      return tf.constant(7), tf.reduce_sum(one.z), (total[1], others['b']), again.z[0] + others['b'], more.a

    self._compute = compute
    # In the order of the type: scale, z, a, y, b.
    self._arguments = [tf.constant(10.0), tf.constant([1, 2]), tf.constant(0.5), tf.constant(0.0), tf.constant(4)]
    self._results = [7, 3, 11.5, 4, 5, 0.5]

  def test_what_results_depend_on(self) -> None:
    self.assertEqual(
      graph_import.find_dependencies(graph_import.read_graph(self._compute)), [set(), {1}, {0, 2}, {4}, {1, 4}, {2}]
    )

  def test_what_results_depend_on_through_control_inputs(self) -> None:
    @tff.tensorflow.computation(np.int32, np.int32, np.int32)
    def compute(one: tf.Tensor, other: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
      with tf.control_dependencies([tf.debugging.assert_less(one, 5)]):
        return other + 1

    self.assertEqual(graph_import.find_dependencies(graph_import.read_graph(compute)), [{0, 1}])

  @parameterized.product(
    results=([0], [1], [2], [3, 1], [5, 4, 0], [], [0, 1, 2, 3, 4, 5], None), use_xla=(False, True)
  )
  def test_only_some_results(self, results: list[int] | None, use_xla: bool) -> None:
    imported = graph_import.import_computation(self._compute, use_xla, results)
    chosen = range(6) if results is None else results
    dependencies = graph_import.find_dependencies(graph_import.read_graph(self._compute))
    needed = set().union(*(dependencies[result] for result in chosen))
    # What is not needed is not looked at: it need not be there.
    arguments = [value if index in needed else None for index, value in enumerate(self._arguments)]
    found = tf.function(lambda: imported(arguments), jit_compile=use_xla, autograph=False)()
    self.assertEqual([value.numpy() for value in found], [self._results[result] for result in chosen])


if __name__ == '__main__':
  absltest.main()
