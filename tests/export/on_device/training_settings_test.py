"""Tests where a training file has its batch size and learning rate from."""

import os
import pathlib

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

  def test_a_run_without_flags_is_refused(self) -> None:
    for index in range(3):
      flags = [flag for place, flag in enumerate(fakes.TRAINING_FLAGS) if place != index]
      name = fakes.TRAINING_FLAGS[index].partition('=')[0]
      with self.assertRaisesRegex(ValueError, f'^Expected {name} in .*config.flags, found none: repeat the training'):
        training_settings.read(self._run_dir(*flags))

  def test_the_batch_is_the_largest_of_a_capability_class(self) -> None:
    path = self.create_tempfile(content='[classes.a]\nbatch_size = 30\n[classes.b]\nshare = 0.5\n').full_path
    run_dir = self._run_dir(*fakes.TRAINING_FLAGS, f'--capabilities={path}')
    self.assertEqual(training_settings.read(run_dir).batch_size, 30)
    for content in ('[classes.a]\nbatch_size = 3\n[classes.b]\n', '[classes.a]\nepochs = 2\n'):
      pathlib.Path(path).write_text(content)
      self.assertEqual(training_settings.read(run_dir).batch_size, 20)
    for content in ('', 'classes = 3', '[classes'):
      pathlib.Path(path).write_text(content)
      with self.assertRaisesRegex(
        ValueError, '^Expected the file of --capabilities that the run had at .*: restore it'
      ):
        training_settings.read(run_dir)
    os.remove(path)
    with self.assertRaisesRegex(ValueError, '^Expected the file of --capabilities that the run had at .*: restore it'):
      training_settings.read(run_dir)

  def test_says_what_clients_of_the_run_did(self) -> None:
    def describe(*flags: str) -> str:
      run_dir = self._run_dir(*fakes.TRAINING_FLAGS, *flags)
      return training_settings.describe(run_dir, training_settings.read(run_dir))

    plain = 'Clients of the run took such steps with a learning rate of 0.1, 1 epoch a round.'
    self.assertEqual(describe(), plain)
    self.assertEqual(describe('--algorithm=fed_avg', '--client_optimizer=sgd'), plain)
    self.assertIn('learning rate of 0.1 in the first round', describe('--client_learning_rate_schedule=linear'))
    for flag in ('--algorithm=fed_prox', '--algorithm=mine:KIND', '--client_optimizer=adam', '--max_gradient_norm=1.0'):
      self.assertEqual(
        describe(flag), f'Clients of the run took other steps ({flag}): find a learning rate by experiment.'
      )

  def test_says_how_local_layers_are_reconstructed(self) -> None:
    tuning = personalization.FineTuning(3, 0.5, 9, ('logits',))
    found = training_settings.describe(self._run_dir('--algorithm=fed_recon'), tuning)
    self.assertEqual(found, 'A device reconstructs these layers with a learning rate of 0.5, 3 epochs.')

  def test_local_layers_are_trained_as_a_device_reconstructs_them(self) -> None:
    run_dir = self._run_dir('--client_batch_size=7')
    tuning = personalization.FineTuning(3, 0.5, 9, ('logits',))
    model = released_model.ReleasedModel(fakes.CHARACTERS, 4, 1, [])
    released_model.save(model, {**fakes.privacy(), **personalization.to_ledger(tuning)}, run_dir)
    self.assertEqual(training_settings.read(run_dir), tuning)


if __name__ == '__main__':
  absltest.main()
