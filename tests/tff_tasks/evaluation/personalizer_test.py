"""Tests of fine-tuning for single users, against Keras on a small model."""

import functools
import os
import threading
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import personalization
from contracts import schema as schema_lib
from models import functional_model as functional_model_lib
from models import registry
from tests.tff_tasks import fakes
from tff_tasks.evaluation import evaluation
from tff_tasks.evaluation import personalizer
from tff_tasks.runtime import workers

_SCHEMA = schema_lib.Schema(
  'points', schema_lib.Feature('point', 'float32', (3,)), schema_lib.Feature('side', 'int8', ()), tuple('abc')
)
_RATE = 0.5
_TUNING = personalization.FineTuning(2, _RATE, 4)


def _build_model() -> tf.keras.Model:
  point = tf.keras.Input((3,))
  hidden = tf.keras.layers.Dense(5, 'relu')(point)
  return tf.keras.Model(point, tf.keras.layers.Dense(3)(hidden))


def _user(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the examples of a user whose labels follow a rule of the user's own."""
  rng = np.random.default_rng(seed)
  points = rng.normal(size=(count, 3)).astype(np.float32)
  return points, (points @ rng.normal(size=(3, 3))).argmax(axis=1).astype(np.int8)


def _shards(users: list[tuple[np.ndarray, np.ndarray]], tail: str = 'last', **examples: int) -> mock.Mock:
  """Returns the shards of users with these features and labels."""
  shards = mock.create_autospec(client_shards.ClientShards, instance=True, schema=_SCHEMA)
  shards.manifest = {'declaration': {'splits': {'tail': tail}, 'examples': examples}}
  shards.read.side_effect = lambda split, client: users[client]
  shards.num_clients.return_value = len(users)
  shards.client_id.side_effect = lambda split, client: f'{client:032x}'
  return shards


def _measure_with_keras(
  weights: list[np.ndarray], points: np.ndarray, labels: np.ndarray, steps: int, is_frozen: bool = False
) -> tuple[float, float, float, float]:
  """Returns accuracy and loss on the second half, before and after so many steps on all of the first half.

  With the layers before the last one frozen, if that is asked for.
  """
  model = _build_model()
  for layer in model.layers[:-1]:
    layer.trainable = not is_frozen
  model.compile(
    tf.keras.optimizers.SGD(_RATE), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), ['accuracy']
  )
  model.set_weights(weights)
  half = len(labels) // 2
  figures = []
  for _ in range(2):
    loss, accuracy = model.evaluate(points[half:], labels[half:], batch_size=len(labels), verbose=0)
    figures += [accuracy, loss]
    # One batch of all: no order of the examples matters.
    model.fit(points[:half], labels[:half], batch_size=half, epochs=steps, shuffle=False, verbose=0)
  (before, loss_before, after, loss_after) = figures
  return before, after, loss_before, loss_after


class CutTest(parameterized.TestCase):
  @parameterized.parameters((2, 1), (3, 1), (7, 3), (8, 4))
  def test_in_order_the_first_half_is_to_fine_tune_on(self, count: int, half: int) -> None:
    tuning, held_out = personalizer.cut(count, b'id', True, 0)
    np.testing.assert_array_equal(tuning, np.arange(half))
    np.testing.assert_array_equal(held_out, np.arange(half, count))

  @parameterized.parameters(0, 1)
  def test_too_few_leave_nothing_to_fine_tune_on(self, count: int) -> None:
    for is_ordered in (True, False):
      tuning, held_out = personalizer.cut(count, b'id', is_ordered, 0)
      self.assertEmpty(tuning)
      self.assertLen(held_out, count)

  def test_examples_that_reach_into_the_second_half_are_in_neither(self) -> None:
    tuning, held_out = personalizer.cut(10, b'id', True, 2)
    np.testing.assert_array_equal(tuning, [0, 1, 2])
    np.testing.assert_array_equal(held_out, [5, 6, 7, 8, 9])
    self.assertEmpty(personalizer.cut(4, b'id', True, 2)[0])

  def test_without_an_order_each_client_has_a_half_of_its_own(self) -> None:
    cuts = [personalizer.cut(40, client_id, False, 0) for client_id in (b'one', b'two', b'one')]
    for tuning, held_out in cuts:
      self.assertLen(tuning, 20)
      self.assertEqual(sorted([*tuning, *held_out]), list(range(40)))
    self.assertEqual(cuts[0][0].tolist(), cuts[2][0].tolist())
    self.assertLen({str(tuning) for tuning, _ in [*cuts, personalizer.cut(40, b'', True, 0)]}, 3)


class PersonalizerTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls.model = functional_model_lib.FunctionalModel(_build_model, 3)
    cls.weights = cls.model.initial_weights
    cls.workers = workers.Workers(2)
    cls.addClassCleanup(cls.workers.close)

  def _measure(
    self, shards: client_shards.ClientShards, tuning: personalization.FineTuning = _TUNING
  ) -> tuple[list[personalization.User], dict]:
    return personalizer.Personalizer(self.model, shards, 'test', tuning, self.workers).measure(self.weights)

  @parameterized.parameters(1, 3)
  def test_is_what_keras_does(self, epochs: int) -> None:
    data = [_user(60, 1), _user(44, 2)]
    shards = _shards(data)
    users, figures = self._measure(shards, personalization.FineTuning(epochs, _RATE, 30))
    self.assertEqual({call.args[0] for call in shards.read.call_args_list}, {'test'})
    expected = [_measure_with_keras(self.weights, *user, steps=epochs) for user in data]
    np.testing.assert_allclose([user[4:] for user in users], expected, rtol=1e-5)
    self.assertEqual([user[1:4] for user in users], [('measured', 30, 30), ('measured', 22, 22)])
    np.testing.assert_allclose(figures['accuracy_after'], np.mean([after for _, after, *_ in expected]), rtol=1e-6)
    self.assertGreater(figures['loss_before'] - figures['loss_after'], 0.05)

  def test_local_layers_alone_are_trained_as_keras_trains_them(self) -> None:
    points, labels = _user(60, 1)
    name = list(self.model.layers)[1]
    users, figures = self._measure(_shards([(points, labels)]), personalization.FineTuning(3, _RATE, 30, (name,)))
    expected = _measure_with_keras(self.weights, points, labels, steps=3, is_frozen=True)
    np.testing.assert_allclose(users[0][4:], expected, rtol=1e-5)
    self.assertEqual(figures['local_layers'], [name])
    every, _ = self._measure(_shards([(points, labels)]), personalization.FineTuning(3, _RATE, 30))
    self.assertNotAlmostEqual(users[0].loss_after, every[0].loss_after, places=3)

  def test_other_layers_are_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, "Expected local layers among .*found 'gru'"):
      self._measure(_shards([_user(60, 1)]), _TUNING._replace(local_layers=('gru',)))

  @parameterized.parameters((0, _RATE), (3, 0.0))
  def test_without_steps_nothing_changes(self, epochs: int, rate: float) -> None:
    users, figures = self._measure(_shards([_user(37, 1), _user(300, 2)]), personalization.FineTuning(epochs, rate, 4))
    for user in users:
      self.assertEqual(user.outcome, personalization.MEASURED)
      self.assertEqual((user.accuracy_before, user.loss_before), (user.accuracy_after, user.loss_after))
    self.assertEqual((figures['better'], figures['worse']), (0, 0))

  def test_before_is_what_the_evaluation_measures(self) -> None:
    points, labels = _user(300, 1)
    users, _ = self._measure(_shards([(points, labels)]))
    alone = _shards([(points[150:], labels[150:])])
    expected = evaluation.Evaluator(self.model, alone, 'test', self.workers).evaluate(self.weights)
    self.assertAlmostEqual(users[0].accuracy_before, expected.accuracy, places=12)
    self.assertAlmostEqual(users[0].loss_before, expected.loss, places=6)

  def test_the_second_half_is_never_trained_on(self) -> None:
    points, labels = _user(40, 1)
    other = labels.copy()
    other[20:] = (other[20:] + 1) % 3
    with mock.patch.object(evaluation, 'build_sums', return_value=lambda *batch: self._record(batch)):
      self._tuned: list[np.ndarray] = []
      self._measure(_shards([(points, labels)]))
      self._measure(_shards([(points, other)]))
    before, after, _, again = self._tuned
    np.testing.assert_array_equal(after, again)
    self.assertFalse(np.array_equal(before, after))

  def _record(self, batch: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    self._tuned.append(batch[0].copy())
    return [np.ones(1)] * 3

  def test_who_has_too_little_is_counted(self) -> None:
    points, labels = _user(6, 1)
    unanswered = np.concatenate([labels[:3], np.full(3, schema_lib.UNKNOWN_LABEL, np.int8)])
    users, figures = self._measure(_shards([_user(0, 1), _user(1, 2), (points, unanswered), _user(2, 3)]))
    self.assertEqual([user.outcome for user in users], [*['not_measured'] * 3, 'measured'])
    self.assertEqual([user[2:4] for user in users], [(0, 0), (0, 1), (3, 3), (1, 1)])
    self.assertEqual((figures['users'], figures['not_measured'], figures['diverged']), (1, 3, 0))

  def test_windows_that_overlap_keep_a_distance(self) -> None:
    users, _ = self._measure(_shards([_user(20, 1), _user(2, 1)], length=128, stride=64))
    self.assertEqual([user[1:4] for user in users], [('measured', 9, 10), ('not_measured', 0, 1)])

  def test_a_log_without_an_order_is_cut_at_random(self) -> None:
    points, labels = _user(40, 1)
    order = np.argsort(labels, kind='stable')  # By class, as some logs are.
    ordered, drawn = (self._measure(_shards([(points[order], labels[order])], tail)) for tail in ('last', 'random'))
    self.assertNotAlmostEqual(ordered[0][0].loss_before, drawn[0][0].loss_before, places=4)
    self.assertEqual((ordered[1]['is_ordered'], drawn[1]['is_ordered']), (True, False))

  def test_who_diverges_is_named_and_in_no_mean(self) -> None:
    points, labels = _user(40, 1)
    large = points * np.float32(1e20)  # After one step, the next is beyond all numbers.
    users, figures = self._measure(_shards([(points, labels), (large, labels)]))
    self.assertEqual([user.outcome for user in users], ['measured', 'diverged'])
    self.assertTrue(np.isnan(users[1].accuracy_after))
    self.assertFalse(np.isnan(users[1].accuracy_before))
    self.assertEqual(figures['diverged_clients'], [f'{1:032x}'])
    self.assertEqual(figures['accuracy_after'], users[0].accuracy_after)

  @parameterized.parameters(1, 5)
  def test_threads_make_no_difference(self, num_threads: int) -> None:
    shards = _shards([_user(count, count) for count in (9, 0, 70, 3, 40, 300)])
    others = workers.Workers(num_threads)
    self.addCleanup(others.close)
    found = personalizer.Personalizer(self.model, shards, 'test', _TUNING, others).measure(self.weights)
    self.assertEqual(str(found), str(self._measure(shards)))

  def test_reads_no_more_than_it_is_about_to_measure(self) -> None:
    shards, halt = _shards([_user(4, 1)] * 50), threading.Event()
    one = workers.Workers(1)
    self.addCleanup(one.close)
    self.addCleanup(halt.set)
    one.submit(halt.wait)
    measuring = threading.Thread(
      target=personalizer.Personalizer(self.model, shards, 'test', _TUNING, one).measure, args=[self.weights]
    )
    measuring.start()
    measuring.join(0.2)
    self.assertLessEqual(shards.read.call_count, 2)
    halt.set()
    measuring.join()
    self.assertEqual(shards.read.call_count, 50)

  def test_no_more_examples_are_evaluated_at_a_time_than_in_any_evaluation(self) -> None:
    with (
      mock.patch.object(evaluation, '_MAX_LOGITS', 3 * 7),
      mock.patch.object(evaluation, 'build_sums', return_value=lambda *batch: self._count(batch)),
    ):
      self._sizes: list[int] = []
      self._measure(_shards([_user(40, 1)]))
    self.assertEqual(self._sizes, [7, 7, 6] * 2)

  def _count(self, batch: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    self._sizes.append(len(batch[-1]))
    return [np.ones(1)] * 3

  def test_a_client_that_cannot_be_read_ends_it(self) -> None:
    shards = _shards([_user(4, 1)])
    shards.read.side_effect = ValueError('Expected the clients-0.arrow, found other content.')
    with self.assertRaisesRegex(ValueError, f'Expected to evaluate on client {0:032x} .*found other content'):
      self._measure(shards)

  def test_a_real_model_on_real_shards(self) -> None:
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    build_model = functools.partial(registry.get_task('next_character').build_model, fakes.SCHEMA, 6)
    model = functional_model_lib.FunctionalModel(build_model, 1)
    tuned = personalizer.Personalizer(model, shards, 'test', _TUNING._replace(epochs=20), self.workers)
    users, figures = tuned.measure(model.initial_weights)
    self.assertEqual([user.client_id for user in users], [shards.client_id('test', client) for client in range(4)])
    self.assertEqual([user[2:4] for user in users], [(1, 1), (2, 3), (4, 4), (5, 6)])
    self.assertLess(figures['loss_after'], figures['loss_before'])


if __name__ == '__main__':
  absltest.main()
