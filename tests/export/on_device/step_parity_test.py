"""Tests that a file whose steps are not those of Keras is refused."""

from typing import Any
from unittest import mock

from absl.testing import absltest
import numpy as np
import pytest

from contracts import personalization
from export import guard
from export.on_device import step_parity
from export.on_device import training_file
from tests.export import guarded_here
from tests.export.on_device import trained


@pytest.mark.slow
class StepParityTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.enterContext(mock.patch.object(guard, 'Call', guarded_here.Call))

  def _compare(self, local: personalization.FineTuning | None = None) -> dict:
    run_dir, path = trained.folder(local=local)
    return step_parity.compare(guard.Limits(), path, run_dir, None, trained.examples())

  def test_steps_are_those_of_keras(self) -> None:
    found = self._compare()
    self.assertEqual(found['steps'], 3)
    self.assertLess(found['max_weight_difference'], 1e-6)
    self.assertGreater(found['max_weight_change'], 1e-3)

  def test_local_layers_alone_are_trained(self) -> None:
    local = personalization.FineTuning(2, 0.25, 10, ('logits',))
    found = self._compare(local)
    self.assertLess(found['max_weight_difference'], 1e-6)
    file = training_file.TrainingFile.open(trained.folder(local=local)[1])
    before = file.get_weights()
    features, labels = trained.examples()
    file.train(features[:10], labels[:10], 0.25)
    moved = [not np.array_equal(*pair) for pair in zip(before, file.get_weights(), strict=True)]
    self.assertEqual((file.batch_size, moved), (10, [False, False, True, True]))

  def test_the_last_batch_is_not_full(self) -> None:
    run_dir, path = trained.folder()
    with mock.patch.object(training_file.TrainingFile, 'train', autospec=True, return_value=0.0) as train:
      step_parity.file_steps(path, trained.tuning(), step_parity.cut(trained.examples(), trained.tuning()))
    self.assertEqual([len(call.args[1]) for call in train.call_args_list], [20, 20, 10] * 2)
    del run_dir

  def test_other_steps_are_refused(self) -> None:
    train: Any = training_file.TrainingFile.train
    wrong: dict[str, Any] = {
      'learning_rate': lambda file, features, labels, rate: train(file, features, labels, 1.01 * rate),
      'label': lambda file, features, labels, rate: train(file, features, np.roll(labels, 1), rate),
      'padding': lambda file, features, labels, rate: train(
        file, *(np.pad(each, [(0, 20 - len(each)), *[(0, 0)] * (each.ndim - 1)]) for each in (features, labels)), rate
      ),
      'nan': lambda file, features, labels, rate: train(file, features * np.nan, labels, rate),
    }
    for name, other in wrong.items():
      with (
        mock.patch.object(training_file.TrainingFile, 'train', other),
        self.assertRaisesRegex(guard.Failed, r'^Expected weights within .* of those of Keras after 3 steps', msg=name),
      ):
        self._compare()

  def test_signatures_that_do_nothing_are_refused(self) -> None:
    nothing = lambda *_: None  # noqa: E731
    for name in ('reset', 'set_weights'):
      with (
        mock.patch.object(training_file.TrainingFile, name, nothing),
        self.assertRaisesRegex(guard.Failed, f'^Expected .* from {name}, found others'),
      ):
        self._compare()


if __name__ == '__main__':
  absltest.main()
