"""Tests of the figures over labels and over users, on a model whose answers are known."""

from collections.abc import Sequence
import functools
import os
import tempfile
import threading
from unittest import mock
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import client_shards
from contracts import schema as schema_lib
from models import functional_model as functional_model_lib
from models import registry
from models import task as task_lib
from tests.tff_tasks import fakes
from tff_tasks.evaluation import evaluation
from tff_tasks.runtime import workers

_IGNORED = schema_lib.IGNORED_LABEL
_CLASSES = 4


def _build_model() -> tf.keras.Model:
  """Returns a model of one weight per class and one for the input: the logits `bias + slope * one_hot(feature)`."""
  feature = tf.keras.Input((2,), dtype=tf.int32)
  hot = tf.keras.layers.CategoryEncoding(_CLASSES, output_mode='one_hot')
  encoded = tf.keras.layers.TimeDistributed(hot)(tf.keras.layers.Reshape((2, 1))(feature))
  return tf.keras.Model(feature, tf.keras.layers.Dense(_CLASSES)(encoded))


# Answers with the feature itself, at a probability of 7 in 10.
_ECHO = (np.log(7.0) * np.eye(_CLASSES, dtype=np.float32), np.zeros(_CLASSES, np.float32))

_SCHEMA = schema_lib.Schema(
  'echo', schema_lib.Feature('said', 'uint8', (2,)), schema_lib.Feature('heard', 'int8', (2,)), tuple('abcd')
)


def _shards(users: Sequence[tuple[list, list]]) -> mock.Mock:
  """Returns the shards of users with these features and labels, in each of their splits."""
  shards = mock.create_autospec(client_shards.ClientShards, instance=True, schema=_SCHEMA)
  arrays = [
    (np.reshape(features, (-1, 2)).astype(np.uint8), np.reshape(labels, (-1, 2)).astype(np.int8))
    for features, labels in users
  ]
  shards.read.side_effect = lambda split, client: arrays[client]
  shards.num_clients.return_value = len(users)
  return shards


class EvaluationTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls.model = functional_model_lib.FunctionalModel(_build_model, 0)
    cls.workers = workers.Workers(3)
    cls.addClassCleanup(cls.workers.close)

  def _evaluator(self, shards: client_shards.ClientShards, split: str = 'test') -> evaluation.Evaluator:
    return evaluation.Evaluator(self.model, shards, split, self.workers)

  def test_by_hand(self) -> None:
    shards = _shards(
      [
        ([[0, 1], [2, 3]], [[0, 1], [2, 0]]),  # 3 of 4.
        ([[1, 1]], [[1, _IGNORED]]),  # 1 of 1.
        ([], []),
        ([[0, 0], [2, 2]], [[_IGNORED, _IGNORED], [_IGNORED, _IGNORED]]),
        ([[3, 2]], [[0, 0]]),  # 0 of 2.
      ]
    )
    found = self._evaluator(shards, 'tail').evaluate(_ECHO)
    self.assertEqual(shards.read.call_args_list, [mock.call('tail', client) for client in range(5)])
    self.assertEqual({call.args for call in shards.num_clients.call_args_list}, {('tail',)})
    self.assertAlmostEqual(found.accuracy, 4 / 7)
    self.assertAlmostEqual(found.accuracy_per_user, (3 / 4 + 1 + 0) / 3)
    self.assertAlmostEqual(found.loss, -(4 * np.log(0.7) + 3 * np.log(0.1)) / 7, places=5)
    self.assertEqual([type(value) for value in found], [float] * 3 + [dict])
    self.assertEmpty(found.metrics)

  def test_metrics_of_a_task(self) -> None:
    shards = _shards([([[0, 1]], [[0, 2]]), ([], []), ([[2, 3]], [[0, _IGNORED]])])
    evaluator = evaluation.Evaluator(self.model, shards, 'test', self.workers, task_lib.RANKING)
    # Behind the feature itself, all others are equal: 2 comes third after 1 and 0, 0 second after 2.
    found = evaluator.evaluate(_ECHO).metrics
    self.assertEqual(list(found), ['top_10_accuracy', 'mean_reciprocal_rank'])
    self.assertAlmostEqual(found['mean_reciprocal_rank'], (1 + 1 / 3 + 1 / 2) / 3, places=6)
    self.assertEqual(found['top_10_accuracy'], 1.0)
    nobody = evaluation.Evaluator(self.model, _shards([]), 'test', self.workers, task_lib.RANKING).evaluate(_ECHO)
    self.assertLen(nobody.metrics, 2)
    self.assertTrue(all(np.isnan(value) for value in nobody.metrics.values()))

  @parameterized.parameters(1, 127, 128, 129, 256, 600)
  def test_batches_make_no_difference(self, examples: int) -> None:
    rng = np.random.default_rng(examples)
    features = rng.integers(0, _CLASSES, (examples, 2))
    labels = np.where(rng.random((examples, 2)) < 0.6, features, rng.integers(_IGNORED, _CLASSES, (examples, 2)))
    cut = examples // 3
    users = [(features[:cut].tolist(), labels[:cut].tolist()), (features[cut:].tolist(), labels[cut:].tolist())]
    found = self._evaluator(_shards(users)).evaluate(_ECHO)
    hits, counts = labels == features, labels != _IGNORED
    self.assertAlmostEqual(found.accuracy, hits.sum() / counts.sum())
    per_user = [hits[part].sum() / counts[part].sum() for part in (slice(cut), slice(cut, None)) if counts[part].any()]
    self.assertAlmostEqual(found.accuracy_per_user, np.mean(per_user))
    losses = np.where(hits, -np.log(0.7), -np.log(0.1))
    self.assertAlmostEqual(found.loss, losses[counts].mean(), places=5)

  @parameterized.parameters((1, 1), (8, 1), (31, 3), (1 << 20, 128))
  def test_a_batch_of_many_logits_has_few_examples(self, most_logits: int, batch_size: int) -> None:
    shards = _shards([([[0, 1]] * 5, [[0, 1]] * 5)])
    with (
      mock.patch.object(evaluation, '_MAX_LOGITS', most_logits),
      mock.patch.object(task_lib, 'sums', wraps=task_lib.sums) as sums,
    ):
      # A model of its own: the others were traced already.
      model = functional_model_lib.FunctionalModel(_build_model, 0)
      found = evaluation.Evaluator(model, shards, 'test', self.workers).evaluate(_ECHO)
    self.assertEqual(found.accuracy, 1)
    _, logits, _ = sums.call_args.args
    self.assertEqual(logits.shape, (batch_size, 2, _CLASSES))

  @parameterized.parameters(1, 2, 7)
  def test_threads_make_no_difference(self, num_threads: int) -> None:
    rng = np.random.default_rng(5)
    shards = _shards([rng.integers(0, _CLASSES, (2, count, 2)).tolist() for count in (300, 1, 0, 170, 40, 500)])
    weights = [rng.normal(size=weight.shape).astype(np.float32) for weight in _ECHO]
    others = workers.Workers(num_threads)
    self.addCleanup(others.close)
    found = evaluation.Evaluator(self.model, shards, 'test', others).evaluate(weights)
    self.assertEqual(found, self._evaluator(shards).evaluate(weights))

  def test_reads_no_more_than_it_is_about_to_evaluate(self) -> None:
    examples, halt = np.zeros((128, 2)).tolist(), threading.Event()
    shards = _shards([(examples, examples)] * 50)
    one = workers.Workers(1)
    self.addCleanup(one.close)
    self.addCleanup(halt.set)
    one.submit(halt.wait)
    evaluating = threading.Thread(target=evaluation.Evaluator(self.model, shards, 'test', one).evaluate, args=[_ECHO])
    evaluating.start()
    evaluating.join(0.2)
    self.assertLessEqual(shards.read.call_count, 2)
    halt.set()
    evaluating.join()
    self.assertEqual(shards.read.call_count, 50)

  def test_splits_share_a_trace(self) -> None:
    shards = _shards([([[0, 1]], [[0, 1]])])
    model = functional_model_lib.FunctionalModel(_build_model, 0)
    with mock.patch.object(task_lib, 'sums', wraps=task_lib.sums) as sums:
      for split in ('test', 'tail'):
        evaluation.Evaluator(model, shards, split, self.workers).evaluate(_ECHO)
    sums.assert_called_once()

  def test_a_client_that_cannot_be_read_ends_it(self) -> None:
    shards = _shards([([[0, 1]], [[0, 1]])])
    shards.read.side_effect = ValueError('Expected the clients-0.arrow, found other content.')
    with self.assertRaisesRegex(ValueError, 'found other content'):
      self._evaluator(shards).evaluate(_ECHO)

  def test_uses_the_weights_it_is_given(self) -> None:
    evaluator = self._evaluator(_shards([([[0, 1]], [[0, 1]])]))
    always_two = (_ECHO[0], np.array([0, 0, 9, 0], np.float32))
    self.assertEqual([evaluator.evaluate(weights).accuracy for weights in (_ECHO, always_two, _ECHO)], [1, 0, 1])

  @parameterized.named_parameters(
    ('without_examples', ([], [])), ('without_labels', ([[0, 1]], [[_IGNORED, _IGNORED]]))
  )
  def test_there_is_no_figure(self, user: tuple[list, list]) -> None:
    evaluator = self._evaluator(_shards([user, ([], [])]))
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      self.assertTrue(np.isnan(evaluator.evaluate(_ECHO)[:3]).all())

  def test_a_real_model_on_real_shards(self) -> None:
    folder = self.enterContext(tempfile.TemporaryDirectory())
    shards = fakes.write_shards(os.path.join(folder, 'shards'))
    build_model = functools.partial(registry.get_task('next_character').build_model, fakes.SCHEMA, 6, False, None)
    functional_model = functional_model_lib.FunctionalModel(build_model, 1)
    weights = functional_model.initial_weights
    found = evaluation.Evaluator(functional_model, shards, 'test', self.workers).evaluate(weights)
    model = build_model()
    model.set_weights(weights)
    sums, shares = [], []
    for user in range(shards.num_clients('test')):
      features, labels = shards.read('test', user)
      of_user = task_lib.sums(tf.constant(labels, tf.int32), model(features.astype(np.int32)))
      sums.append([float(tf.reduce_sum(value)) for value in of_user])
      shares.append(sums[-1][1] / sums[-1][2])
    loss, correct, count = np.sum(sums, axis=0).tolist()
    self.assertEqual(count, 26 * 12 - 4 * 4)
    np.testing.assert_allclose(found[:3], [loss / count, correct / count, float(np.mean(shares))], rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
