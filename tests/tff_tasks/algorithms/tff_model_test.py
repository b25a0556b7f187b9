"""Tests that the model for TFF's algorithms is ours: its answers, its loss, and what it measures."""

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from models import task as task_lib
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.algorithms import tff_model


class TffModelTest(absltest.TestCase):
  def test_is_our_model_with_our_loss(self) -> None:
    ours = algorithm_rounds.build_model()
    model = tff_model.build(ours, fakes.SCHEMA)
    stream = np.random.default_rng(1)
    (length,), classes = fakes.SCHEMA.feature.shape, fakes.SCHEMA.num_classes
    features = stream.integers(0, classes, (3, length)).astype(fakes.SCHEMA.feature.dtype)
    labels = stream.integers(-1, classes, (3, length)).astype(np.int32)
    weights = (tuple(map(tf.constant, ours.initial_weights)), ())
    logits = model.predict_on_batch(weights, features)
    np.testing.assert_allclose(logits, tf.function(ours)(list(weights[0]), features), rtol=1e-6)
    sums = task_lib.Sums(*map(tf.reduce_sum, task_lib.sums(tf.constant(labels), logits, fakes.SCHEMA.first_answer)))
    self.assertEqual(sums.count, (labels >= 0).sum())
    np.testing.assert_allclose(model.loss(logits, labels), sums.loss / sums.count, rtol=1e-6)
    np.testing.assert_array_equal(model.loss(logits, np.full_like(labels, -1)), 0)


if __name__ == '__main__':
  absltest.main()
