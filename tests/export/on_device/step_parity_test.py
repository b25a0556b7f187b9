"""Tests that a file whose steps are not those of Keras is refused."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

from absl.testing import absltest
import numpy as np
import pytest

from contracts import personalization
from export import guard
from export import parity
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
    self.assertLess(found['relative_weight_difference'], 1e-4)
    share = found['relative_weight_difference']
    self.assertEqual(share, float(f'{share:.0e}'))  # No further digits of steps on people's examples.
    self.assertEqual(set(found), {'steps', 'relative_weight_difference'})

  def test_local_layers_alone_are_trained(self) -> None:
    local = personalization.FineTuning(2, 0.25, 10, ('logits',))
    found = self._compare(local)
    self.assertLess(found['relative_weight_difference'], 1e-4)
    file = training_file.TrainingFile.open(trained.folder(local=local)[1])
    before = file.get_weights()
    features, labels = trained.examples()
    file.train(features[:10], labels[:10], 0.25)
    moved = [not np.array_equal(*pair) for pair in zip(before, file.get_weights(), strict=True)]
    self.assertEqual((file.batch_size, moved), (10, [False, False, True, True]))

  def test_the_last_batch_is_not_full(self) -> None:
    _, path = trained.folder()
    with mock.patch.object(training_file.TrainingFile, 'train', autospec=True, return_value=0.0) as train:
      step_parity.file_steps(path, trained.tuning(), step_parity.cut(trained.examples(), trained.tuning()))
    self.assertEqual([len(call.args[1]) for call in train.call_args_list], [20, 20, 10] * 2)

  def test_steps_are_on_examples_of_many_clients(self) -> None:
    clients = np.repeat(np.arange(40), 25)  # Sorted by client, as they are read.
    found = step_parity.cut(parity.Examples(clients, clients), trained.tuning()).labels
    self.assertLen(found, 50)
    self.assertLen(np.unique(found), 40)
    self.assertLen(step_parity.cut(parity.Examples(clients[:7], clients[:7]), trained.tuning()).labels, 7)

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
    self._expect_refusals('train', wrong, 'weights')

  def test_other_losses_are_refused(self) -> None:
    train: Any = training_file.TrainingFile.train
    wrong: dict[str, Any] = {
      'scale': lambda *arguments: 1.01 * train(*arguments),
      'nan': lambda *arguments: train(*arguments) * np.nan,
    }
    self._expect_refusals('train', wrong, 'losses')

  def test_answers_with_other_weights_are_refused(self) -> None:
    infer, released = training_file.TrainingFile.infer, training_file.TrainingFile.open(trained.folder()[1])
    self._expect_refusals('infer', {'released': lambda _, features: infer(released, features)}, 'logits of infer')

  def test_a_last_tensor_of_nan_is_refused(self) -> None:
    get_weights: Any = training_file.TrainingFile.get_weights
    wrong = {'nan': lambda file: [*get_weights(file)[:-1], get_weights(file)[-1] * np.nan]}
    self._expect_refusals('get_weights', wrong, 'weights')

  def _expect_refusals(self, name: str, wrong: Mapping[str, Any], what: str) -> None:
    for case, other in wrong.items():
      with (
        mock.patch.object(training_file.TrainingFile, name, other),
        self.assertRaisesRegex(guard.Failed, f'^Expected {what} within .* of those of Keras after 3 steps', msg=case),
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

  def test_weights_that_are_set_to_the_released_ones_are_refused(self) -> None:
    with (
      mock.patch.object(training_file.TrainingFile, 'set_weights', lambda file, _: file.reset()),
      self.assertRaisesRegex(guard.Failed, '^Expected the weights that were given from set_weights, found others'),
    ):
      self._compare()


if __name__ == '__main__':
  absltest.main()
