"""Tests of the sums of loss and accuracy and of their gradient, against NumPy and with labels that do not count."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models import functional_model
from models import registry
from models import task
from tests.export import fakes

_SCHEMA = schema_lib.Schema(
  'x', schema_lib.Feature('numbers', 'float32', (5,)), schema_lib.Feature('kind', 'int8', ()), ('a', 'b', 'c')
)
_IGNORED, _UNKNOWN = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL


def _sums(labels: np.ndarray, logits: np.ndarray) -> list[np.ndarray]:
  return [value.numpy() for value in task.sums(tf.constant(labels, tf.int32), tf.constant(logits, tf.float32))]


def _build(*layers: tf.keras.layers.Layer) -> Callable[..., tf.keras.Model]:
  def build_model(schema: schema_lib.Schema, size: int, unroll: bool, batch_size: int | None) -> tf.keras.Model:
    return tf.keras.Sequential([tf.keras.Input(schema.feature.shape, batch_size=batch_size), *layers])

  return build_model


class TaskTest(parameterized.TestCase):
  def test_the_example_in_the_description_builds(self) -> None:
    text = task.__doc__ or ''
    code = '\n'.join(line[4:] for line in text.splitlines() if line.startswith('    ') or not line)
    names: dict[str, Any] = {}
    exec(code, names)
    for batch_size in (None, 1):
      model = names['LINEAR'].build(_SCHEMA, 1, False, batch_size)
      self.assertEqual(tuple(model.output.shape), (batch_size, 3))
    functional_model.FunctionalModel(functools.partial(names['LINEAR'].build, _SCHEMA, 1), 1)

  @parameterized.named_parameters(
    (
      'classes',
      (tf.keras.layers.Dense(4),),
      r'one output of shape \[None, 3\] .*3 classes.*, found \[None, 4\]: build it',
    ),
    ('softmax', (tf.keras.layers.Dense(3, 'softmax', name='end'),), 'found softmax in its last layer, end: remove'),
    (
      'softmax_layer',
      (tf.keras.layers.Dense(3), tf.keras.layers.Softmax(name='end')),
      'found softmax in .*, end: remove',
    ),
  )
  def test_a_model_that_does_not_fit(self, layers: Sequence[tf.keras.layers.Layer], message: str) -> None:
    with self.assertRaisesRegex(ValueError, f'^Expected .*mine.*{message}'):
      task.Task('mine', _build(*layers), 1).build(_SCHEMA, 1)

  def test_an_input_that_does_not_fit(self) -> None:
    def other(*_: Any) -> tf.keras.Model:
      return tf.keras.Sequential([tf.keras.Input([6]), tf.keras.layers.Dense(3)])

    def two(*_: Any) -> tf.keras.Model:
      inputs = [tf.keras.Input([5]), tf.keras.Input([5])]
      return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(tf.keras.layers.Add()(inputs)))

    cases: list[tuple[Any, int | None, str]] = [
      (
        other,
        None,
        r"one input of shape \[None, 5\] \(the features 'numbers'.*, found \[None, 6\]: build it from schema",
      ),
      (two, None, r'one input .*, found \[None, 5\], \[None, 5\]'),
      (
        lambda schema, *_: _build(tf.keras.layers.Dense(3))(schema, 1, False, None),
        1,
        r'shape \[1, 5\].* found \[None, 5\]',
      ),
      (lambda *_: None, None, 'build_model of mine to return a model made from tf.keras.Input, found a NoneType'),
    ]
    for build_model, batch_size, message in cases:
      with self.assertRaisesRegex(ValueError, message):
        task.Task('mine', build_model, 1).build(_SCHEMA, 1, False, batch_size)

  @parameterized.parameters('next_character', 'next_word', 'next_item', 'handwriting', 'classification')
  def test_the_built_in_ones_fit(self, name: str) -> None:
    schema = fakes.HANDWRITING if name == 'handwriting' else _SCHEMA if name == 'classification' else fakes.CHARACTERS
    for batch_size in (None, 1):
      registry.get_task(name).build(schema, 4, True, batch_size)


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
    labels = rng.integers(_UNKNOWN, 6, (4, *shape))
    logits = rng.normal(0, 3, (4, *shape, 6))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    counts = labels >= 0
    chosen = np.take_along_axis(probabilities, np.maximum(labels, 0)[..., np.newaxis], axis=-1)[..., 0]
    axes = tuple(range(1, labels.ndim))
    loss, correct, count = _sums(labels, logits)
    np.testing.assert_allclose(loss, np.where(counts, -np.log(chosen), 0).sum(axis=axes), rtol=1e-5)
    np.testing.assert_array_equal(correct, (counts & (logits.argmax(axis=-1) == labels)).sum(axis=axes))
    np.testing.assert_array_equal(count, counts.sum(axis=axes))

  def test_special_classes_are_no_answers(self) -> None:
    logits = np.array([[[9.0, 1.0, 2.0], [9.0, 2.0, 1.0]]])
    for first, right in ((0, 0), (1, 2)):
      loss, correct, _ = _sums(np.array([[2, 1]]), logits)
      found = [value.numpy() for value in task.sums(tf.constant([[2, 1]]), tf.constant(logits, tf.float32), first)]
      np.testing.assert_array_equal(found[1], [right])
      np.testing.assert_array_equal(found[0], loss)  # They are still possible, until training says otherwise.
      sums, _ = task.sums_and_gradient(tf.constant([[2, 1]]), tf.constant(logits, tf.float32), first)
      self.assertEqual(sums.correct, right)
    self.assertEqual(correct, 0)

  @parameterized.product(wild=(1e30, -1e30, np.inf, -np.inf, np.nan), masked=(_IGNORED, _UNKNOWN))
  def test_labels_below_0_do_not_count_whatever_the_logits(self, wild: float, masked: int) -> None:
    labels = np.array([[1, masked], [masked, masked]])
    logits = np.zeros((2, 2, 4))
    logits[labels == masked, ::2] = wild
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


def _sums_and_gradient(labels: tf.Tensor, logits: tf.Tensor) -> tuple[task.Sums, tf.Tensor]:
  """The same by definition: `sums` added up, and their mean loss differentiated."""
  with tf.GradientTape() as tape:
    tape.watch(logits)
    total = task.Sums(*map(tf.reduce_sum, task.sums(labels, logits)))
    mean = tf.math.divide_no_nan(total.loss, total.count)
  return total, tape.gradient(mean, logits)


def _run(function: Callable[..., object], xla: bool, labels: np.ndarray, logits: np.ndarray) -> list[np.ndarray]:
  """Returns three sums and the gradient, traced for any batch."""
  specs = [tf.TensorSpec([None, *labels.shape[1:]], tf.int32), tf.TensorSpec([None, *logits.shape[1:]])]
  results = tf.function(function, input_signature=specs, jit_compile=xla)(labels.astype(np.int32), logits)
  return [value.numpy() for value in tf.nest.flatten(results)]


_XLA = (('without_xla', False), ('with_xla', True))


class SumsOfMetricsTest(parameterized.TestCase):
  @parameterized.parameters(0, 2)
  def test_like_numpy(self, first_answer: int) -> None:
    rng = np.random.default_rng(first_answer)
    # Few different logits, so that there are ties.
    logits = rng.integers(0, 6, (5, 3, 20)).astype(np.float32)
    labels = rng.integers(first_answer, 20, (5, 3)).astype(np.int32)
    labels[0, 0], labels[1, 1] = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL
    expected = np.zeros((2, 5))
    for example, position in np.ndindex(labels.shape):
      if labels[example, position] >= 0:
        order = np.argsort(-logits[example, position, first_answer:], kind='stable') + first_answer
        rank = 1 + order.tolist().index(labels[example, position])
        expected[:, example] += rank <= 10, 1 / rank
    found = task.sums_of_metrics(task.RANKING, tf.constant(labels), tf.constant(logits), first_answer)
    np.testing.assert_allclose(np.stack(found), expected, rtol=1e-6)

  def test_the_first_of_the_ranking_is_what_accuracy_counts(self) -> None:
    logits, labels = tf.zeros((1, 4, 3)), tf.constant([[0, 1, 2, 0]])
    first = task.Metric('first', lambda rank: tf.cast(rank <= 1, tf.float32))
    (found,) = task.sums_of_metrics([first], labels, logits)
    self.assertEqual(found.numpy().tolist(), task.sums(labels, logits).correct.numpy().tolist())

  def test_without_metrics_nothing_is_measured(self) -> None:
    self.assertEmpty(task.sums_of_metrics([], tf.zeros((1, 1), tf.int32), tf.zeros((1, 1, 2))))


class SumsAndGradientTest(parameterized.TestCase):
  @parameterized.product(shape=((), (5,), (3, 2)), xla=(False, True))
  def test_as_defined(self, shape: tuple[int, ...], xla: bool) -> None:
    stream = np.random.default_rng(1)
    labels = stream.integers(_UNKNOWN, 3, (9, *shape))
    self.assertContainsSubset({_IGNORED, _UNKNOWN}, {*labels.ravel().tolist()})
    logits = stream.normal(0, 3, (*labels.shape, 3)).astype(np.float32)
    functions: list[Callable[..., object]] = [task.sums_and_gradient, _sums_and_gradient]
    found, expected = (_run(function, xla, labels, logits) for function in functions)
    self.assertEqual([value.dtype for value in found], [np.float32] * 4)
    self.assertEqual([value.shape for value in found], [(), (), (), logits.shape])
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)

  @parameterized.named_parameters(*_XLA)
  def test_by_hand(self, xla: bool) -> None:
    logits = np.log([[[1, 2, 5], [6, 1, 1]], [[1, 1, 2], [1, 2, 1]]]).astype(np.float32)
    loss, correct, count, gradient = _run(task.sums_and_gradient, xla, np.array([[2, 1], [0, _IGNORED]]), logits)
    self.assertAlmostEqual(loss, -np.log(5 / 8 * 1 / 8 * 1 / 4), places=5)
    self.assertEqual((correct, count), (1, 3))
    expected = [[[1 / 8, 2 / 8, -3 / 8], [6 / 8, -7 / 8, 1 / 8]], [[-3 / 4, 1 / 4, 2 / 4], [0, 0, 0]]]
    np.testing.assert_allclose(gradient, np.array(expected) / 3, atol=1e-6)

  @parameterized.product(shape=((), (5,)), xla=(False, True))
  def test_nothing_counts(self, shape: tuple[int, ...], xla: bool) -> None:
    labels = np.full((4, *shape), _IGNORED)
    for logits in (np.ones((*labels.shape, 3), np.float32), np.full((*labels.shape, 3), np.nan, np.float32)):
      *sums, gradient = _run(task.sums_and_gradient, xla, labels, logits)
      self.assertEqual(sums, [0, 0, 0])
      np.testing.assert_array_equal(gradient, np.zeros_like(logits))

  @parameterized.product(wild=(1e30, -1e30, np.inf, -np.inf, np.nan), xla=(False, True))
  def test_ignored_labels_do_not_count_whatever_the_logits(self, wild: float, xla: bool) -> None:
    labels = np.array([[1, _IGNORED], [_UNKNOWN, 2]])
    logits = np.random.default_rng(1).normal(size=(2, 2, 4)).astype(np.float32)
    expected = _run(task.sums_and_gradient, xla, labels, logits)
    logits[labels < 0, ::2] = wild
    found = _run(task.sums_and_gradient, xla, labels, logits)
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-6)

  @parameterized.named_parameters(*_XLA)
  def test_no_number_that_counts_is_hidden(self, xla: bool) -> None:
    """Whoever sums up must see that the client's model broke."""
    logits = np.zeros((2, 3), np.float32)
    logits[1, 0] = np.nan
    loss, _, count, gradient = _run(task.sums_and_gradient, xla, np.array([0, 1]), logits)
    self.assertEqual(count, 2)
    self.assertTrue(np.isnan(loss))
    np.testing.assert_allclose(gradient[0], [-1 / 3, 1 / 6, 1 / 6], rtol=1e-6)
    self.assertTrue(np.isnan(gradient[1]).any())


if __name__ == '__main__':
  absltest.main()
