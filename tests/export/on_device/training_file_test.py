"""Tests what the calls of a training file do on the device's runtime."""

from unittest import mock

from absl.testing import absltest
import numpy as np
import pytest

from export.on_device import training_file
from tests.export import converted
from tests.export.on_device import trained


@pytest.mark.slow
class TrainingFileTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.file = training_file.TrainingFile.open(trained.folder()[1])
    self.features, self.labels = trained.examples()

  def _assert_equal(self, found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_array_equal(one, other)

  def test_describes_all_signatures(self) -> None:
    ends = {f'{kind} {name}': (dtype, shape) for kind, name, dtype, shape in self.file.describe()}
    self.assertEqual(ends['input train.x'], ('float32', (20, 5)))
    self.assertEqual(ends['input train.y'], ('int32', (20,)))
    self.assertEqual(ends['input train.weight'], ('float32', (20,)))
    self.assertEqual(ends['input train.lr'], ('float32', ()))
    self.assertEqual(ends['output train.loss'], ('float32', ()))
    self.assertEqual(ends['input infer.x'], ('float32', (1, 5)))
    self.assertEqual(ends['output infer.logits'], ('float32', (1, 3)))
    for name in ('output get_weights', 'input set_weights'):
      self.assertEqual(ends[f'{name}.w0'], ('float32', (5, trained.UNITS)))
      self.assertEqual(ends[f'{name}.w3'], ('float32', (3,)))
    self.assertIn('output reset.done', ends)

  def test_trains_and_takes_it_back(self) -> None:
    before, logits = self.file.get_weights(), self.file.infer(self.features)
    losses = [self.file.train(self.features[:20], self.labels[:20], 0.5) for _ in range(20)]
    self.assertLess(losses[-1], losses[0])
    after = self.file.get_weights()
    self.assertFalse(np.allclose(self.file.infer(self.features), logits))
    self.file.reset()
    self._assert_equal(self.file.get_weights(), before)
    np.testing.assert_array_equal(self.file.infer(self.features), logits)
    self.file.set_weights(after)
    self._assert_equal(self.file.get_weights(), after)

  def test_what_fills_a_batch_up_does_not_count(self) -> None:
    self.file.train(self.features[20:40], self.labels[20:40], 0.0)  # Leaves a full batch in the buffers.
    loss = self.file.train(self.features[:7], self.labels[:7], 0.5)
    logits = trained_logits = training_file.TrainingFile.open(trained.folder()[1]).infer(self.features[:7])
    counts = self.labels[:7] >= 0
    losses = np.log(np.exp(trained_logits).sum(-1)) - logits[np.arange(7), np.maximum(self.labels[:7], 0)]
    self.assertAlmostEqual(loss, losses[counts].mean(), places=5)

  def test_fills_a_batch_up_with_a_real_example(self) -> None:
    self.file.train(self.features[20:40], self.labels[20:40], 0.0)
    batch = {}
    with mock.patch.dict(self.file._run, train=lambda **ends: batch.update(ends) or {'loss': 0.0}):
      self.file.train(self.features[:7], self.labels[:7], 0.5)
    np.testing.assert_array_equal(batch['x'], self.features[[*range(7), *[6] * 13]])
    np.testing.assert_array_equal(batch['y'], self.labels[[*range(7), *[6] * 13]])
    np.testing.assert_array_equal(batch['weight'], [1] * 7 + [0] * 13)

  def test_another_number_of_examples_is_refused(self) -> None:
    for count in (0, 21):
      with self.assertRaisesRegex(ValueError, f'^Expected at most 20 examples a step and .*, found {count}: pass a'):
        self.file.train(self.features[:count], self.labels[:count], 0.5)

  def test_epochs_are_batches_of_the_order(self) -> None:
    order = np.random.default_rng(2).permutation(50)
    self.file.train_epochs(self.features, self.labels, [order, order[::-1]], 16, 0.1)
    found = self.file.get_weights()
    self.file.reset()
    for rows in (order, order[::-1]):
      for start in (0, 16, 32, 48):
        batch = rows[start : start + 16]
        self.file.train(self.features[batch], self.labels[batch], 0.1)
    self._assert_equal(found, self.file.get_weights())

  def test_another_file_is_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected a training file with the signatures .*--variants=train'):
      training_file.TrainingFile(converted.interpret('float32', trained.TABLE, trained.UNITS))


if __name__ == '__main__':
  absltest.main()
