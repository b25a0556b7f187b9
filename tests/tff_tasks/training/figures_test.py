"""Tests of the figures of a finished run."""

import dataclasses
import io
import os
import pathlib
from typing import Any

from absl.testing import absltest

from contracts import personalization
from contracts import run_directory
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.training import figures
from tff_tasks.training import metrics
from tff_tasks.training import run as run_lib


class FiguresTest(absltest.TestCase):
  def test_rounds_add_up(self) -> None:
    rows = metrics.Rows(
      [
        metrics.RoundMetrics(0, seconds=0.5),
        metrics.RoundMetrics(1, clients=3, skipped_clients=2, seconds=1.0),
        metrics.RoundMetrics(2, clients=0, skipped_clients=1, seconds=2.0),
      ]
    )
    found = figures.of_rounds(dataclasses.replace(fakes.CONFIG, total_rounds=2), rows)
    self.assertEqual((found['skipped_clients'], found['empty_rounds'], found['seconds']), (3, 1, 3.5))
    self.assertEqual((found['rounds'], found['algorithm']), (2, 'fed_avg'))
    self.assertNotIn('clients_by_class', found)

  def test_capability_classes_add_up(self) -> None:
    counts: list[dict[str, int]] = [{}, {'fast': 1, 'slow': 2}, {'fast': 0, 'slow': 4}]
    rows = [metrics.RoundMetrics(number, clients_by_class=one) for number, one in enumerate(counts)]
    found = figures.of_rounds(fakes.CONFIG, metrics.Rows(rows, ['fast', 'slow']))
    self.assertEqual(found['clients_by_class'], {'fast': 1, 'slow': 6})
    self.assertIn('clients_by_class', run_directory.FIGURE_NAMES)


class PersonalizationTest(absltest.TestCase):
  """Of fine-tuning at the end of a run, and asked for when the run is finished."""

  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(folder, 'shards'))
    self._run_dir = os.path.join(folder, 'run')

  def _train(self, total_rounds: int = 1, **changes: Any) -> str:
    config = dataclasses.replace(fakes.CONFIG, output_dir=self._run_dir, total_rounds=total_rounds, **changes)
    flags = ['--clip_norm=0.1', *(f'--{name}={value}' for name, value in changes.items())]
    stream = io.StringIO()
    run_lib.train(config, self._shards, '\n'.join(flags), stream)
    return stream.getvalue()

  def _contents(self, folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pathlib.Path(self._run_dir, folder).rglob('*') if path.is_file()}

  def _figures(self) -> dict[str, Any]:
    return run_directory.read_figures(self._run_dir)

  def test_a_finished_run_is_measured_and_not_trained_again(self) -> None:
    self.assertNotIn('Fine-tuning', self._train())
    self.assertNotIn(personalization.FIGURES, self._figures())
    public, secret, plain = self._contents('public'), self._contents('secret'), self._figures()
    said = self._train(personalize_epochs=2)
    self.assertRegex(said, '\nFine-tuning .2 epochs, learning rate 0.5. on the first half .* over 4 users.\n')
    self.assertNotIn('round 1/1', said)
    self.assertEqual((self._contents('public'), self._contents('secret')), (public, secret))
    run = self._figures()
    # No metric of a task takes the place of one.
    self.assertContainsSubset(run.keys(), run_directory.FIGURE_NAMES)
    users = personalization.read(self._run_dir, run)
    self.assertEqual([user.client_id for user in users], [self._shards.client_id('test', user) for user in range(4)])
    found = run.pop(personalization.FIGURES)
    self.assertEqual((found['epochs'], found['learning_rate'], found['batch_size']), (2, 0.5, 4))
    # The texts are random: of some models, more of them is learned than helps.
    self.assertNotEqual(found['loss_after'], found['loss_before'])
    self.assertEqual({**run, 'checksum': ''}, {**plain, 'checksum': ''})
    self.assertIn('Fine-tuning', pathlib.Path(self._run_dir, run_directory.REPORT).read_text())
    # The same again, or without it: there is nothing to do, and the figures stay.
    for changes in ({'personalize_epochs': 2}, {}):
      self.assertStartsWith(self._train(**changes), 'Nothing to do')
    self.assertEqual(self._figures()[personalization.FIGURES], found)
    # Rows that are damaged are written again.
    path = pathlib.Path(self._run_dir, run_directory.PERSONALIZATION)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    self.assertIn('Fine-tuning', self._train(personalize_epochs=2))
    self.assertEqual(path.read_bytes(), whole)

  def test_who_diverged_is_named_and_more_rounds_remove_the_rows(self) -> None:
    said = self._train(personalize_epochs=2, personalize_learning_rate=1e39)  # Infinite in float32.
    names = ', '.join(self._shards.client_id('test', user) for user in range(3))
    self.assertIn('nobody could be measured', said)
    self.assertIn(f'4 diverged and are in no mean (client {names} and 1 more)', said)
    self.assertIsNone(self._figures()[personalization.FIGURES]['accuracy_after'])
    self.assertIn('round 2/2', self._train(total_rounds=2))
    self.assertNotIn(personalization.FIGURES, self._figures())
    self.assertFalse(os.path.exists(os.path.join(self._run_dir, run_directory.PERSONALIZATION)))
    self.assertNotIn('Fine-tuning', pathlib.Path(self._run_dir, run_directory.REPORT).read_text())


if __name__ == '__main__':
  absltest.main()
