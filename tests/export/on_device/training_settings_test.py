"""Tests where a training file has its batch size and learning rate from."""

import os

from absl.testing import absltest

from contracts import personalization
from contracts import released_model
from export.on_device import training_settings
from tests.export import fakes


class TrainingSettingsTest(absltest.TestCase):
  def _run_dir(self, *flags: str) -> str:
    run_dir = self.create_tempdir().full_path
    with open(os.path.join(run_dir, 'config.flags'), 'w') as file:
      file.write('\n'.join(flags) + '\n')
    return run_dir

  def test_are_those_of_the_clients_of_the_run(self) -> None:
    run_dir = self._run_dir(
      '--client_batch_size=7', '--client_learning_rate=0.25', '--client_epochs_per_round=2', '--seed=1'
    )
    self.assertEqual(training_settings.read(run_dir), personalization.FineTuning(2, 0.25, 7))

  def test_a_run_without_flags_has_defaults(self) -> None:
    self.assertEqual(training_settings.read(self._run_dir()), personalization.FineTuning(1, 0.1, 20))

  def test_local_layers_are_trained_as_a_device_reconstructs_them(self) -> None:
    run_dir = self._run_dir('--client_batch_size=7')
    tuning = personalization.FineTuning(3, 0.5, 9, ('logits',))
    model = released_model.ReleasedModel(fakes.CHARACTERS, 4, 1, [])
    released_model.save(model, {**fakes.privacy(), **personalization.to_ledger(tuning)}, run_dir)
    self.assertEqual(training_settings.read(run_dir), tuning)


if __name__ == '__main__':
  absltest.main()
