from collections.abc import Sequence
import dataclasses
import functools
import itertools
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models import functional_model as functional_model_lib
from models import task as task_lib
from models.tasks import handwriting
from models.tasks import next_character
from tests.tff_tasks import fakes
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import client_data

_IMAGE, _CHARACTER = schema_lib.Feature('image', 'uint8', (28, 28)), schema_lib.Feature('character', 'int8', ())
_IMAGES = schema_lib.Schema('handwriting', _IMAGE, _CHARACTER, tuple('01'))
_CASES = {
  'text': (functools.partial(next_character.build_model, fakes.SCHEMA, 5), fakes.SCHEMA),
  'images': (functools.partial(handwriting.build_model, _IMAGES, 6), _IMAGES),
}
_RATE = 0.1
_FIRST = 2
_SEEDS = np.array([[1, 2], [3, 4]], np.int32)


def _training(epochs: int = 1) -> local_sgd.LocalTraining:
  return local_sgd.LocalTraining(_RATE, 3, epochs)


def _dataset(schema: schema_lib.Schema, count: int, capacity: int, ignored: int = 2) -> client_data.ClientDataset:
  stream = np.random.default_rng(0)
  # What comes before and after the examples must not matter.
  features = np.full((_FIRST + capacity, *schema.feature.shape), 200, np.uint8)
  labels = np.full((capacity, *schema.label.shape), 100, np.int8)
  features[_FIRST : _FIRST + count] = stream.integers(0, schema.num_classes, (count, *schema.feature.shape))
  labels[:count] = stream.integers(0, schema.num_classes, (count, *schema.label.shape))
  labels[:count].reshape(-1)[:ignored] = schema_lib.IGNORED_LABEL
  return _as_dataset(features, labels, count, _SEEDS)


def _as_dataset(features: np.ndarray, labels: np.ndarray, count: int, seed: np.ndarray) -> client_data.ClientDataset:
  memory = np.zeros(0, np.float32)
  work = np.zeros(2, np.int32)
  return client_data.ClientDataset(features, np.int32(_FIRST), np.int32(0), labels, memory, np.int32(count), seed, work)


def _train(
  model: functional_model_lib.FunctionalModel,
  dataset: client_data.ClientDataset,
  training: local_sgd.LocalTraining,
  indices: Sequence[int] | None = None,
) -> tuple[list[np.ndarray], task_lib.Sums]:
  """Runs our local SGD in a graph, which is where TFF runs it."""
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    sgd = local_sgd.LocalSgd(model, training, client_data.ClientDataset(*map(tf.constant, dataset)))
    return session.run(sgd.run(list(map(tf.constant, model.initial_weights)), indices))


def _batches(
  dataset: client_data.ClientDataset, training: local_sgd.LocalTraining, half: int | None = None
) -> list[list[int]]:
  """Returns the numbers of the examples of each batch, of all or of a half, -1 for what only fills it up."""
  seen: list[list[int]] = []

  class Seeing(local_sgd.LocalSgd):
    def _step(self, features: tf.Tensor, labels: tf.Tensor, *state: Any) -> Any:
      seen.append(np.where(labels.numpy() >= 0, features.numpy()[:, 0], -1).tolist())
      return state

  model: Any = None  # Not asked for anything; and executed at once, the loops are Python's.
  sgd: local_sgd.LocalSgd = Seeing(model, training, client_data.ClientDataset(*map(tf.constant, dataset)))
  (sgd if half is None else sgd.halves()[half]).run([tf.zeros([1])])
  return seen


def _numbered(count: int, capacity: int, seed: int = 1) -> client_data.ClientDataset:
  """Returns examples that are their own numbers."""
  numbers, labels = np.arange(-_FIRST, capacity, dtype=np.int32)[:, np.newaxis], np.zeros(capacity, np.int32)
  return _as_dataset(numbers, labels, count, seed * _SEEDS)


def _train_with_keras(
  model: tf.keras.Model, dataset: client_data.ClientDataset, batches: list[list[int]], optimizer: Any = None
) -> list[np.ndarray]:
  """Local SGD written the ordinary way, with the Keras model's own variables."""
  optimizer = optimizer or tf.keras.optimizers.SGD(_RATE)
  features, labels = fakes.examples(dataset)
  for batch in ([number for number in batch if number >= 0] for batch in batches):
    with tf.GradientTape() as tape:
      logits = model(features[batch].astype(model.input.dtype.as_numpy_dtype), training=True)
      sums = task_lib.sums(tf.constant(labels[batch], tf.int32), logits)
      loss = tf.reduce_sum(sums.loss) / tf.reduce_sum(sums.count)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True))
  return model.get_weights()


class OrderTest(parameterized.TestCase):
  @parameterized.product(count=(1, 3, 7, 12), epochs=(1, 3))
  def test_every_example_comes_once_an_epoch(self, count: int, epochs: int) -> None:
    batches = _batches(_numbered(count, 12), _training(epochs))
    self.assertLen(batches, epochs * -(-count // 3))
    epoch_size = len(batches) // epochs
    for epoch in range(epochs):
      flat = list(itertools.chain(*batches[epoch * epoch_size : (epoch + 1) * epoch_size]))
      self.assertEqual(sorted(number for number in flat if number >= 0), list(range(count)))
      # Only the last batch of an epoch is filled up.
      self.assertNotIn(-1, flat[:count])

  @parameterized.product(count=(1, 6, 12), size=(1, 2, 3, 5), epochs=(1, 3))
  def test_batches_of_the_clients_own_size_are_those_of_that_size(self, count: int, size: int, epochs: int) -> None:
    expected = _batches(_numbered(count, 60), local_sgd.LocalTraining(_RATE, size, epochs))
    dataset = _numbered(count, 60)._replace(work=np.array([epochs, size], np.int32))
    found = _batches(dataset, local_sgd.LocalTraining(_RATE, 5, 7, is_by_client=True))
    self.assertEqual(found, [[*batch, *[-1] * (5 - size)] for batch in expected])

  def test_a_capacity_that_is_full_ends_with_the_last_example(self) -> None:
    dataset = _numbered(7, 7)._replace(work=np.array([1, 3], np.int32))
    batches = _batches(dataset, local_sgd.LocalTraining(_RATE, 4, 1, is_by_client=True))
    self.assertEqual(sorted(itertools.chain(*batches)), [-1] * 5 + list(range(7)))

  def test_epochs_and_seeds_have_orders_of_their_own(self) -> None:
    batches = _batches(_numbered(12, 12), _training(2))
    orders = [batches[:4], batches[4:], _batches(_numbered(12, 12, seed=5), _training())]
    self.assertLen({str(order) for order in [*orders, [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]]}, 4)
    self.assertEqual(_batches(_numbered(12, 12), _training(2)), batches)

  def test_without_examples_there_is_no_batch(self) -> None:
    for half in (None, 0, 1):
      self.assertEmpty(_batches(_numbered(0, 12), _training(2), half))

  @parameterized.product(count=(1, 2, 7, 12), size=(0, 2))
  def test_halves_have_each_example_once(self, count: int, size: int) -> None:
    dataset = _numbered(count, 12)._replace(work=np.array([2, size], np.int32))
    training = local_sgd.LocalTraining(_RATE, 3, 2, is_by_client=bool(size))
    first, second = (_numbers(_batches(dataset, training, half)) for half in (0, 1))
    self.assertEqual((len(first), len(second)), (2 * (count // 2), 2 * (count - count // 2)))
    self.assertEqual(sorted([*first, *second]), sorted([*range(count)] * 2))
    self.assertEmpty(set(first) & set(second))

  def test_halves_are_drawn(self) -> None:
    """Each of 12 examples is in the first half of 240 clients 120 times, deviating by 7.7: 46 is six of those."""
    halves = [_numbers(_batches(_numbered(12, 12, seed), _training(), 0)) for seed in range(240)]
    counts = np.bincount(np.concatenate(halves), minlength=12)
    self.assertEqual(counts.sum(), 240 * 6)
    self.assertTrue((np.abs(counts - 120) < 46).all(), counts)

  def test_orders_are_uniform(self) -> None:
    """Each of 12 examples is in the first quarter of 240 orders 60 times, deviating by 6.7: 40 is six of those."""
    first = [_batches(_numbered(12, 12, seed), _training())[0] for seed in range(240)]
    counts = np.bincount(np.concatenate(first), minlength=12)
    self.assertEqual(counts.sum(), 240 * 3)
    self.assertTrue((np.abs(counts - 60) < 40).all(), counts)


def _numbers(batches: list[list[int]]) -> list[int]:
  return [number for batch in batches for number in batch if number >= 0]


class LocalSgdTest(parameterized.TestCase):
  @parameterized.product(case=tuple(_CASES), epochs=(1, 2))
  def test_is_what_keras_does(self, case: str, epochs: int) -> None:
    build_model, schema = _CASES[case]
    functional_model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 10, 12)
    trained, _ = _train(functional_model, dataset, _training(epochs))
    weights, model = functional_model.initial_weights, build_model()
    model.set_weights(weights)
    batches = _batches(_numbered(10, 12), _training(epochs))
    for ours, theirs in zip(trained, _train_with_keras(model, dataset, batches), strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-6)
    self.assertGreater(max(np.abs(a - b).max() for a, b in zip(trained, weights, strict=True)), 1e-4)

  @parameterized.parameters('momentum', 'adam')
  def test_other_optimizers_are_what_keras_does(self, name: str) -> None:
    build_model, schema = _CASES['text']
    functional_model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 10, 12)
    training = local_sgd.LocalTraining(_RATE, 3, 2, name)
    trained, _ = _train(functional_model, dataset, training)
    model = build_model()
    model.set_weights(functional_model.initial_weights)
    optimizer = {
      'momentum': tf.keras.optimizers.SGD(_RATE, momentum=0.9),
      'adam': tf.keras.optimizers.Adam(_RATE),
    }[name]
    expected = _train_with_keras(model, dataset, _batches(_numbered(10, 12), training), optimizer)
    for ours, theirs in zip(trained, expected, strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-4)

  @parameterized.parameters('momentum', 'sgd')
  def test_some_weights_are_trained_as_keras_trains_layers(self, name: str) -> None:
    build_model, schema = _CASES['text']
    functional_model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 10, 12)
    training = local_sgd.LocalTraining(_RATE, 3, 2, name)
    trained, _ = _train(functional_model, dataset, training, functional_model.layers['logits'])
    model = build_model()
    model.set_weights(functional_model.initial_weights)
    for layer in model.layers[:-1]:
      layer.trainable = False
    optimizer = tf.keras.optimizers.SGD(_RATE, momentum=0.9 if name == 'momentum' else 0.0)
    expected = _train_with_keras(model, dataset, _batches(_numbered(10, 12), training), optimizer)
    for ours, theirs, before in zip(trained, expected, functional_model.initial_weights, strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-5)
      self.assertEqual(np.array_equal(ours, before), ours.shape not in ((5, 10), (10,)))

  def test_a_bound_is_for_the_weights_that_are_trained(self) -> None:
    build_model, schema = _CASES['text']
    model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 3, 3)
    training = local_sgd.LocalTraining(_RATE, 3, 1, max_gradient_norm=0.01)
    trained, _ = _train(model, dataset, training, model.layers['logits'])
    moved = [after - before for before, after in zip(model.initial_weights, trained, strict=True)]
    self.assertAlmostEqual(np.sqrt(sum(np.sum(part**2) for part in moved)), _RATE * 0.01, delta=1e-6)

  def test_no_step_is_longer_than_its_bound(self) -> None:
    build_model, schema = _CASES['text']
    model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 3, 3)
    trained, _ = _train(model, dataset, local_sgd.LocalTraining(_RATE, 3, 1, max_gradient_norm=0.01))
    moved = [after - before for before, after in zip(model.initial_weights, trained, strict=True)]
    self.assertAlmostEqual(np.sqrt(sum(np.sum(part**2) for part in moved)), _RATE * 0.01, delta=1e-6)

  def test_the_full_gradient_is_that_of_all_labels(self) -> None:
    build_model, schema = _CASES['text']
    model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 10, 12)
    training = _training()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      sgd = local_sgd.LocalSgd(model, training, client_data.ClientDataset(*map(tf.constant, dataset)))
      found = session.run(sgd.full_gradient(list(map(tf.constant, model.initial_weights))))
    one_batch = dataclasses.replace(training, batch_size=12)
    trained, _ = _train(model, dataset, one_batch)
    for gradient, before, after in zip(found, model.initial_weights, trained, strict=True):
      np.testing.assert_allclose(_RATE * gradient, before - after, atol=1e-6)

  def test_a_client_with_work_of_its_own_trains_as_if_all_had_it(self) -> None:
    build_model, schema = _CASES['text']
    model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 10, 12)
    expected, sums = _train(model, dataset, local_sgd.LocalTraining(_RATE, 3, 2))
    training = local_sgd.LocalTraining(_RATE, 5, 1, is_by_client=True)
    found, found_sums = _train(model, dataset._replace(work=np.array([2, 3], np.int32)), training)
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(found_sums, sums, rtol=1e-5)

  def test_measures_each_batch_before_its_step(self) -> None:
    build_model, schema = _CASES['text']
    functional_model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 3, 3)
    _, sums = _train(functional_model, dataset, _training())
    model = build_model()
    model.set_weights(functional_model.initial_weights)
    expected = task_lib.sums(tf.constant(dataset.labels, tf.int32), model(fakes.examples(dataset)[0].astype(np.int32)))
    np.testing.assert_allclose(sums.loss, tf.reduce_sum(expected.loss), rtol=1e-5)
    self.assertEqual(sums.count, dataset.labels.size - 2)

  def test_special_classes_are_no_answers(self) -> None:
    """With all weights zero all logits are equal, and the answer is the first class that can be one."""
    build_model, schema = _CASES['text']
    model, dataset = functional_model_lib.FunctionalModel(build_model, 1), _dataset(schema, 3, 3)
    model.initial_weights = [np.zeros_like(weight) for weight in model.initial_weights]
    for first in (0, 2):
      with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        sgd = local_sgd.LocalSgd(model, _training(), client_data.ClientDataset(*map(tf.constant, dataset)), first)
        _, sums = session.run(sgd.run(list(map(tf.constant, model.initial_weights))))
      self.assertEqual(sums.correct, np.count_nonzero(dataset.labels == first))

  def test_without_examples_nothing_happens(self) -> None:
    build_model, schema = _CASES['text']
    model = functional_model_lib.FunctionalModel(build_model, 1)
    trained, sums = _train(model, _dataset(schema, 0, 3), _training(2))
    for before, after in zip(model.initial_weights, trained, strict=True):
      np.testing.assert_array_equal(before, after)
    self.assertEqual(sums, task_lib.Sums(0.0, 0.0, 0.0))


if __name__ == '__main__':
  absltest.main()
