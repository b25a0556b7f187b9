"""Tests of the classification model: vectors and windows of any size, learnt as clients do, run as on a device."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models.tasks import classification
from tests.models import trials


def _schema(*shape: int) -> schema_lib.Schema:
  feature = schema_lib.Feature('features', 'float32', shape)
  return schema_lib.Schema('classification', feature, schema_lib.Feature('label', 'int8', ()), ('a', 'b', 'c'))


def _examples(*shape: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
  """Returns noise, and as label which third the mean of the first number (over time) is in."""
  features = np.random.default_rng(5).normal(size=(count, *shape)).astype(np.float32)
  first = features.reshape(count, -1, shape[-1])[..., 0].mean(axis=1)
  return features, np.searchsorted(np.quantile(first, [1 / 3, 2 / 3]), first).astype(np.int8)


class ClassificationTest(parameterized.TestCase):
  @parameterized.parameters((1,), (9,), (1, 1), (2, 3), (50, 6))
  def test_logits_whatever_the_shape(self, *shape: int) -> None:
    model = classification.TASK.build_model(_schema(*shape), 7, False, None)
    features, _ = _examples(*shape, count=4)
    logits = model(features).numpy()
    self.assertEqual((logits.shape, logits.dtype), ((4, 3), np.float32))
    self.assertTrue(np.isfinite(logits).all())
    self.assertEqual((model.name, model.input_names), ('classification', ['features']))
    self.assertEqual((model.input.dtype, tuple(model.input.shape)), (tf.float32, (None, *shape)))
    self.assertEqual(model.get_layer('dense').units, 7)

  @parameterized.parameters(((6,),), ((12, 2),))
  def test_learns(self, shape: tuple[int, ...]) -> None:
    losses = trials.losses_of_training(classification.TASK, _schema(*shape), *_examples(*shape), 0.3)
    self.assertGreater(losses[0], 0.9)
    self.assertLess(losses[-1], 0.6 * losses[0])

  def test_when_something_happens_matters(self) -> None:
    model = classification.TASK.build_model(_schema(32, 2), 7, False, None)
    early = np.zeros((1, 32, 2), np.float32)
    early[:, 8:12] = 1
    late = np.roll(early, 12, axis=1)
    self.assertGreater(np.abs(model(early).numpy() - model(late).numpy()).max(), 1e-3)

  @parameterized.parameters(((6,),), ((13, 2),), ((1, 1),))
  def test_runs_on_a_device(self, shape: tuple[int, ...]) -> None:
    path = os.path.join(self.create_tempdir().full_path, 'model.tflite')
    features, _ = _examples(*shape, count=5)
    on_device, expected = trials.logits_on_device(classification.TASK, _schema(*shape), features, path)
    np.testing.assert_allclose(on_device, expected, rtol=0, atol=1e-5)

  @parameterized.parameters(((),), ((2, 3, 4),))
  def test_refuses_other_dimensions(self, shape: tuple[int, ...]) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected features of shape \[numbers\] or \[length, channels\], found'):
      classification.TASK.build_model(_schema(*shape), 7, False, None)


if __name__ == '__main__':
  absltest.main()
