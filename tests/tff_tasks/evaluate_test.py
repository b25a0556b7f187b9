"""Tests of the program: figures for people and for programs. In a process of its own, as others define its flags."""

import dataclasses
import json
import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from tests import layout
from tests.tff_tasks import fakes

_FIGURES = {
  'task': 'next_character',
  'data_set': 'plays',
  'round': 3,
  'split': 'test',
  'clients': 4,
  'examples': 1234,
  'population': 9,
  'accuracy': 0.25,
  'accuracy_per_user': 0.2,
  'loss': float('nan'),
  'baseline': 'bigram',
  'baseline_accuracy': 0.35,
  'majority_class': 'e',
  'majority_accuracy': 0.3,
  'bigram_accuracy': 0.35,
  'bigram_clients': 9,
  'coverage': 0.5,
}
# Runs the program on figures that are given, or up to where the model would be built if there are none.
_WITHOUT_TENSORFLOW = """
import sys
from unittest import mock

nan = float('nan')
figures = {figures}
for name in ('tensorflow', 'tff_tasks.runtime.contexts', 'tff_tasks.evaluation.evaluation', 'models.functional_model'):
  sys.modules[name] = mock.Mock()
if figures:
  sys.modules['contracts.released_model'] = mock.Mock()
  sys.modules['tff_tasks.evaluation.released_evaluation'] = mock.Mock(
    measure=lambda run_dir, shards, split, personalize, task: figures,
    Personalize=lambda *asked: print('personalize', *asked),
  )
from common import cli
from tff_tasks import evaluate
cli.run(evaluate.main)
"""


class EvaluateTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.create_tempdir().full_path
    self._shards = os.path.join(self._folder, 'shards')
    fakes.write_shards(self._shards)

  def _run(self, figures: dict, *flags: str) -> tuple[int, str, str]:
    places = [f'--run_dir={self._folder}/run', f'--shards_dir={self._shards}']
    command = [sys.executable, '-c', _WITHOUT_TENSORFLOW.replace('{figures}', repr(figures)), *places, *flags]
    done = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr

  def test_for_people(self) -> None:
    code, said, errors = self._run(_FIGURES)
    self.assertEqual((code, errors), (0, ''))
    self.assertStartsWith(said, 'Round 3 of next_character on 4 test users of plays (1,234 examples):\naccuracy 25.0%')
    for sentence in (
      "Always answering 'e' is right 30.0% of the time, a bigram 35.0%.",
      'The model does not beat the baseline (bigram): 25.0% against 35.0%.',
      'Coverage: the model can give 50.0% of the true answers',
    ):
      self.assertIn(f'\n{sentence}', said)

  def test_what_fine_tuning_gives(self) -> None:
    user = personalization.User('ab' * 16, personalization.MEASURED, 3, 4, 0.25, 0.5, 2.0, 1.0)
    found = personalization.summarize([user], personalization.FineTuning(2, 0.5, 4), 'test', True)
    figures = {**_FIGURES, personalization.FIGURES: found}
    code, said, errors = self._run(figures, '--personalize_epochs=2', '--personalize_learning_rate=0.5')
    self.assertEqual((code, errors), (0, ''))
    self.assertStartsWith(said, 'personalize 2 0.5\nRound 3')
    self.assertRegex(said, '\nFine-tuning .* 25.0% before, 50.0% after.*\n1 .* got better.*\nThese figures are exact')
    _, said, _ = self._run(figures, '--json')
    self.assertEqual(json.loads(said)['personalization'], found)

  def test_which_figure_is_before_reconstruction(self) -> None:
    user = personalization.User('ab' * 16, personalization.MEASURED, 3, 4, 0.25, 0.5, 2.0, 1.0)
    tuning = personalization.FineTuning(2, 0.5, 4, ('logits',))
    figures = {**_FIGURES, personalization.FIGURES: personalization.summarize([user], tuning, 'test', True)}
    code, said, errors = self._run(figures)
    self.assertEqual((code, errors), (0, ''))
    self.assertIn('\naccuracy with the local layers at their initial weights: 25.0%, as a mean over users 20.0%', said)
    self.assertIn('\nReconstruction of the local layers logits (2 epochs', said)
    self.assertNotIn('does not beat', said)

  @parameterized.parameters(
    (['--personalize_epochs=-1'], 'flag --personalize_epochs=-1'),
    (['--personalize_epochs=many'], 'flag --personalize_epochs=many'),
    (['--personalize_epochs=1', '--personalize_learning_rate=nan'], '.*Expected a finite number'),
    (['--personalize_epochs=1', '--personalize_learning_rate=-1'], 'flag --personalize_learning_rate=-1'),
    (['--personalize_learning_rate=1'], '.*Expected --personalize_epochs with --personalize_learning_rate, found none'),
    (['--personalize_epochs=1', '--split=train'], '.*Expected --personalize_epochs with users who took part in no'),
    (['--personalize_epochs=1', '--split=tail'], '.*Expected --personalize_epochs with users who took part in no'),
  )
  def test_bad_flags_are_one_line_and_2(self, flags: list[str], message: str) -> None:
    self._assert_refused(message, *flags)

  @parameterized.parameters((), ('--personalize_epochs=1', '--split=validation'), ('--split=train',))
  def test_remedies_of_bad_flags(self, *flags: str) -> None:
    code, _, errors = self._run(_FIGURES, *flags)
    self.assertEqual((code, errors), (0, ''))

  def test_for_programs(self) -> None:
    code, said, errors = self._run(_FIGURES, '--json')
    self.assertEqual((code, errors), (0, ''))
    self.assertEqual(json.loads(said), {**_FIGURES, 'loss': None})

  def _release(self, schema: schema_lib.Schema, task: released_model.Task | None = None) -> None:
    run_dir = os.path.join(self._folder, 'run')
    os.makedirs(run_dir)
    model = released_model.ReleasedModel(schema, 5, 3, [np.zeros(3, np.float32)], own_task=task)
    released_model.save(model, {}, run_dir)

  def _assert_refused(self, message: str, *flags: str) -> None:
    code, said, errors = self._run({}, *flags)
    self.assertEqual((code, said), (2, ''), errors)
    self.assertLen(errors.splitlines(), 1)
    self.assertRegex(errors, f'^error: {message}')

  def test_missing_shards_are_one_line_and_2(self) -> None:
    self._assert_refused('Expected a finished data set in .*nowhere', '--shards_dir=nowhere')

  def test_a_missing_run_is_one_line_and_2(self) -> None:
    self._assert_refused('Expected a released model at .*run/public/model.npz, found none: ')

  def test_a_task_of_ones_own_has_to_be_given(self) -> None:
    self._release(fakes.SCHEMA, released_model.Task('mine', 'package_of_mine.tasks:TASK'))
    expected = 'Expected --task=package_of_mine.tasks:TASK, which the model in .*run was trained with, found'
    self._assert_refused(f'{expected} none: add that flag')
    self._assert_refused(f'{expected} next_character: add that flag', '--task=next_character')

  def test_another_schema_is_one_line_and_2(self) -> None:
    self._release(dataclasses.replace(fakes.SCHEMA, classes=('a', 'b')))
    self._assert_refused('Expected shards of the schema .* preprocess them with the declaration')

  def test_a_split_without_clients_is_one_line_and_2(self) -> None:
    self._release(fakes.SCHEMA)
    self._assert_refused('Expected clients in the split validation .* choose --split among', '--split=validation')


if __name__ == '__main__':
  absltest.main()
