"""Tests of where a run begins, and of what a run that goes on has to fit."""

import dataclasses
import errno
import json
import os
import pathlib
import shutil
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from models import registry
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tests.tff_tasks import scripted
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.training import metrics
from tff_tasks.training import program_state
from tff_tasks.training import run_directory
from tff_tasks.training import starting


class FindTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._config = dataclasses.replace(fakes.CONFIG, output_dir=self.create_tempdir().full_path)
    self._asked: list[dict[str, Any]] = []

  def _build_plan(self, **asked: Any) -> plan_lib.PrivacyPlan:
    self._asked.append(asked)
    return fakes.PLAN

  def _find(self, saved: program_state.ProgramState | None = None, **changes: Any) -> starting.Start:
    config = dataclasses.replace(self._config, **changes)
    start = starting.find(config, '--clip_norm=0.1\n', 'data', 5, self._build_plan, saved)
    run_directory.write_config(self._config.output_dir, start.history)
    return start

  def _save(self, start: starting.Start, round_number: int) -> program_state.ProgramState:
    history = start.history.after(round_number)
    return program_state.ProgramState(round_number, start.seed, {}, [np.zeros(1)], history, metrics.Rows())

  def test_a_new_run(self) -> None:
    start = self._find()
    self.assertEqual((start.saved, start.is_restarted, start.note), (None, False, ''))
    self.assertEqual(self._asked, [{'before': (), 'rounds': 4}])
    self.assertEqual(self._find(seed=3).seed, seeds.Seed.from_number(3))

  def test_a_run_that_goes_on_keeps_its_secret(self) -> None:
    begun = self._find()
    saved = self._save(begun, 2)
    resumed = self._find(saved, total_rounds=9)
    self.assertEqual((resumed.seed, resumed.is_restarted, resumed.history.run), (begun.seed, False, begun.history.run))
    self.assertEqual((resumed.saved, resumed.history.total_rounds), (saved, 9))

  def test_a_run_that_lost_released_rounds_gets_a_new_secret(self) -> None:
    begun = self._find()
    os.makedirs(f'{self._config.output_dir}/operator')
    with open(f'{self._config.output_dir}/operator/metrics.csv', 'w') as file:
      file.write('round\n0\n3\n')
    start = self._find(self._save(begun, 2))
    self.assertTrue(start.is_restarted)
    self.assertNotEqual(start.seed, begun.seed)
    self.assertEqual(start.history.run, (begun.history.run[0], 1))
    self.assertEqual([segment.rounds for segment in self._asked[-1]['before']], [2, 1])
    self.assertEqual(self._asked[-1]['rounds'], 2)
    self.assertIn('Rounds 3 to 3 were released', start.note)

  def test_a_run_with_a_known_seed_promises_nothing_and_keeps_it(self) -> None:
    begun = self._find(seed=3)
    os.makedirs(f'{self._config.output_dir}/operator')
    with open(f'{self._config.output_dir}/operator/metrics.csv', 'w') as file:
      file.write('round\n0\n3\n')
    start = self._find(self._save(begun, 2), seed=3)
    self.assertEqual((start.seed, start.is_restarted), (begun.seed, False))


class ResumeTest(runs.RunsTestCase):
  """Which checkpoints may be gone on from, and what that costs."""

  def test_what_is_known_of_the_runtime_is_said_before_it_starts(self) -> None:
    script = scripted.Script(choice='It is open.')
    with mock.patch.object(scripted.Runtime, 'initialize', side_effect=RuntimeError), self.assertRaises(RuntimeError):
      self.train('run', script, xla='yes')
    self.assertEqual(self.stream.getvalue().splitlines().count('It is open.'), 1)
    self.train('run', script, xla='yes')
    self.assertEqual(self.stream.getvalue().splitlines().count('It is open.'), 2)  # Once more, and no more.

  def test_rounds_without_noise_are_not_laundered(self) -> None:
    self.train('open', total_rounds=4, noise_multiplier=0.0)
    self.copy_checkpoints('open', 'laundered')
    with self.assertRaisesRegex(ValueError, 'Expected the noise of the run in .* multiplier of 0 .* --branch_from='):
      self.train('laundered', total_rounds=5)
    self.train('branch', total_rounds=5, branch_from=self.path('laundered'))
    ledger = self.ledger('branch')
    self.assertIsNone(ledger['epsilon'])
    self.assertRegex(ledger['covers'], 'nothing: rounds that this run goes on from added no noise')

  def test_noise_is_not_used_for_two_sums(self) -> None:
    self.train('first', total_rounds=4)
    for name, rate in (('second', 2.0), ('third', 0.0)):
      self.copy_checkpoints('first', name)
      with self.assertRaisesRegex(ValueError, 'Expected the flags of the run in .*client_learning_rate=0.5.*branch'):
        self.train(name, total_rounds=5, client_learning_rate=rate)
      # The remedy: another secret, and so other noise and other coins.
      branch: dict[str, Any] = {'total_rounds': 5, 'client_learning_rate': rate, 'branch_from': self.path(name)}
      self.train(f'{name}_branch', **branch)
    seeds_used = {self.saved(name).seed for name in ('first', 'second_branch', 'third_branch')}
    self.assertLen(seeds_used, 3)

  def test_the_same_flags_do_not_make_two_runs_of_one(self) -> None:
    self.train('first', total_rounds=4)
    self.copy_checkpoints('first', 'second')
    with self.assertRaisesRegex(ValueError, 'Expected config.flags of the run whose checkpoints .* copy the whole'):
      self.train('second')
    shutil.copytree(self.path('first'), self.path('second'), dirs_exist_ok=True)
    self.train('second')
    self.assertEqual(self.ledger('second')['rounds'], 6)

  def test_a_branch_adds_up_what_both_spent(self) -> None:
    self.train('first', total_rounds=4)
    runtime = self.train('branch', branch_from=self.path('first'), noise_multiplier=2.0)
    ledger, first = self.ledger('branch'), self.saved('first').history.current.plan
    second = self.saved('branch').history.current.plan
    self.assertEqual(
      ledger['epsilon'], segments_lib.epsilon_of([segments_lib.Segment(first, 4), segments_lib.Segment(second, 2)])
    )
    self.assertEqual((ledger['rounds'], first.noise_multiplier, second.noise_multiplier), (6, 1.0, 2.0))
    self.assertIn('goes through after this one branched', ' '.join(ledger['not_covered']))
    said = self.stream.getvalue().partition('Branched from ')[2].splitlines()
    self.assertStartsWith(said[0], f'round 4 of {self.path("first")}: 6 rounds of next_character on the local runtime:')
    self.assertEqual(said[1], 'The rounds of both runs count. What optimizer and algorithm keep starts anew.')
    self.assertNotIn('Resuming', self.stream.getvalue())
    saved = self.saved('branch')
    self.assertEqual([row.round for row in saved.rows], list(range(7)))
    self.assertEqual(saved.state[0].tolist(), [6.0] * 3)
    self.assertIn(saved.seed, runtime.process)
    self.assertNotEqual(saved.seed, self.saved('first').seed)

  def test_a_branch_is_resumed_like_any_run(self) -> None:
    self.train('first', total_rounds=4)
    options: dict[str, Any] = {'branch_from': self.path('first'), 'total_rounds': 9, 'target_epsilon': 3.0}
    with self.assertRaises(RuntimeError):
      self.train('branch', scripted.Script(error=RuntimeError('dead')), **options, noise_multiplier=None)
    seed = self.saved('branch').seed
    shutil.rmtree(self.path('first'))
    self.train('branch', **options, noise_multiplier=None)
    self.assertEqual((self.saved('branch').seed, self.saved('branch').round_number), (seed, 9))
    self.assertBetween(self.ledger('branch')['epsilon'], 2.9, 3.0)

  def test_a_branch_compiles_clients_as_it_is_told(self) -> None:
    self.train('first', total_rounds=4, xla='no', noise_multiplier=0.0)
    branch = self.train('branch', branch_from=self.path('first'), xla='yes', noise_multiplier=0.0)
    self.assertEqual(branch.settled, {'use_xla': True})
    self.assertEqual(self.saved('first').settled, {'use_xla': False})

  def test_a_branch_has_a_schedule_of_its_own_rounds(self) -> None:
    self.train('first', total_rounds=4, noise_multiplier=0.0)
    linear: dict[str, Any] = {
      'branch_from': self.path('first'),
      'server_learning_rate_schedule': 'linear',
      'noise_multiplier': 0.0,
    }
    with self.assertRaises(RuntimeError):
      self.train('branch', scripted.Script(error=RuntimeError('dead')), **linear, total_rounds=7)
    self.assertEqual(self.train('branch', **linear, total_rounds=7).process[1], 3)

  def test_a_branch_is_of_one_run(self) -> None:
    silent: dict[str, Any] = {'noise_multiplier': 0.0}
    for name in ('first', 'second'):
      self.train(name, total_rounds=4, **silent)
    self.train('branch', branch_from=self.path('first'), **silent)
    shutil.move(self.path('first'), self.path('moved'))
    for other in ('second', 'branch', 'nowhere'):
      with self.assertRaisesRegex(
        ValueError, f'Expected a new run directory for --branch_from={self.path(other)}, found a run .* another one'
      ):
        self.train('branch', branch_from=self.path(other), total_rounds=8, **silent)
    self.train('branch', branch_from=self.path('first'), total_rounds=7, **silent)  # Gone, and named as it was.
    self.train('branch', branch_from=self.path('moved'), total_rounds=8, **silent)
    self.train('branch', total_rounds=9, **silent)
    self.assertEqual(self.ledger('branch')['rounds'], 9)

  @parameterized.parameters(1, 99)
  def test_a_parent_at_work_removes_checkpoints_while_they_are_read(self, removals: int) -> None:
    self.train('first', total_rounds=4, noise_multiplier=0.0)
    gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path('first', 'round_000003.ckpt'))
    found = [None, *[gone] * removals, self.saved('first')]  # Nothing yet in the directory of the branch.
    with mock.patch('tff_tasks.training.checkpoints.load_last', side_effect=found):
      if removals == 1:
        self.train('branch', branch_from=self.path('first'), noise_multiplier=0.0)
      else:
        message = f'--branch_from={self.path("first")}, found it removed .* at work there; repeat the command'
        with self.assertRaisesRegex(ValueError, message):
          self.train('branch', branch_from=self.path('first'), noise_multiplier=0.0)
    self.train('branch', branch_from=self.path('first'), noise_multiplier=0.0)  # The parent has ended.

  @parameterized.parameters(
    ({'branch_from': 'nowhere'}, 'Expected the checkpoints of a run in --branch_from=nowhere, found none'),
  )
  def test_what_cannot_be_branched_from(self, changes: dict[str, Any], message: str) -> None:
    self.train('first', total_rounds=4)
    with self.assertRaisesRegex(ValueError, message):
      self.train('branch', **{'branch_from': self.path('first'), **changes})

  def test_all_that_a_branch_cannot_change_is_named_at_once(self) -> None:
    self.train('first', total_rounds=4, shards_dir=self.shards.path, noise_multiplier=0.0)
    own, self.shards = self.shards, fakes.write_shards(self.path('others'), sizes=(3,) * 30)
    wrong: dict[str, Any] = {'shards_dir': self.shards.path, 'model_size': 9, 'total_rounds': 3}
    with self.assertRaises(ValueError) as caught:
      self.train('branch', branch_from=self.path('first'), client_learning_rate=0.1, **wrong)
    self.assertEqual(
      str(caught.exception),
      f'Expected for a branch of the run in {self.path("first")}: its data (--shards_dir={own.path}), '
      f'--model_size=5, --total_rounds above 4; found other data in {self.shards.path}, --model_size=9, '
      '--total_rounds=3: type what was expected; other flags may change.',
    )
    self.assertFalse(os.path.exists(self.path('branch')))
    self.shards = own
    typed: dict[str, Any] = {'shards_dir': own.path, 'model_size': 5, 'total_rounds': 5, 'noise_multiplier': 0.0}
    self.train('branch', branch_from=self.path('first'), client_learning_rate=0.1, **typed)
    self.assertEqual(self.saved('branch').round_number, 5)

  def test_a_model_size_may_be_the_one_of_the_task(self) -> None:
    default = registry.get_task(fakes.SCHEMA.task).default_size
    self.train('first', total_rounds=4, model_size=None, noise_multiplier=0.0)
    with self.assertRaisesRegex(ValueError, f': --model_size={default}; found --model_size=5: type'):
      self.train('branch', branch_from=self.path('first'), model_size=5, noise_multiplier=0.0)
    for name, size in (('named', default), ('unnamed', None)):
      self.train(name, branch_from=self.path('first'), model_size=size, noise_multiplier=0.0)

  def test_the_task_stays_the_same(self) -> None:
    self.train('first', total_rounds=4, noise_multiplier=0.0)
    with self.assertRaisesRegex(ValueError, ': no --task; found --task=next_word: type what was expected'):
      self.train('branch', branch_from=self.path('first'), task='next_word', noise_multiplier=0.0)
    with self.assertRaisesRegex(
      ValueError, r'\(no --task\), found --task=next_word: .*; or choose another --output_dir'
    ):
      self.train('first', task='next_word', noise_multiplier=0.0)
    self.train('branch', branch_from=self.path('first'), noise_multiplier=0.0)

  def test_a_finished_run_goes_on(self) -> None:
    self.train('run', total_rounds=4)
    self.train('run', total_rounds=8)
    self.assertEqual((self.ledger('run')['rounds'], self.saved('run').round_number), (8, 8))
    self.assertEqual(self.saved('run').state[0].tolist(), [8.0] * 3)
    self.assertEqual(json.loads(pathlib.Path(self.path('run', 'operator/run.json')).read_text())['rounds'], 8)

  def test_a_finished_run_goes_on_beyond_its_target_if_that_is_said(self) -> None:
    self.train('run', total_rounds=4, target_epsilon=2.0, noise_multiplier=None)
    with self.assertRaises(ValueError) as caught:
      self.train('run', total_rounds=8, target_epsilon=2.0, noise_multiplier=None)
    remedy = str(caught.exception).partition('add --noise_multiplier=')[2].split()[0]
    self.train('run', total_rounds=8, target_epsilon=0.0, noise_multiplier=float(remedy))
    self.assertGreater(self.ledger('run')['epsilon'], 2.0)
    self.assertEqual(self.ledger('run')['rounds'], 8)

  def test_flags_that_change_nothing_may_change(self) -> None:
    self.train('run', total_rounds=4)
    self.train('run', rounds_per_eval=1, on_client_error='skip')
    rows = [row.round for row in self.saved('run').rows if row.eval_accuracy is not None]
    self.assertEqual(rows, [0, 2, 4, 5, 6])

  def test_rounds_beyond_what_an_older_checkpoint_knows_of_count_twice_too(self) -> None:
    self.train('run', total_rounds=4, noise_multiplier=0.0)
    self.train('run', noise_multiplier=0.0)
    seed = self.saved('run').seed
    for name in ('secret/checkpoints/round_000006.ckpt', 'public/model.npz', 'public/privacy.json'):
      os.remove(self.path('run', name))
    self.train('run', noise_multiplier=0.0)
    self.assertNotEqual(self.saved('run').seed, seed)
    self.assertEqual(self.ledger('run')['rounds'], 8)

  def test_rounds_whose_checkpoint_is_lost_run_again_with_fresh_noise_and_count_twice(self) -> None:
    self.train('run')
    path = pathlib.Path(self.path('run', 'secret/checkpoints', 'round_000006.ckpt'))
    path.write_bytes(path.read_bytes()[:-9])
    with self.assertRaisesRegex(ValueError, 'found a damaged one: delete it to go on from round_000004.ckpt'):
      self.train('run')
    path.unlink()
    seed, plan = self.saved('run').seed, self.saved('run').history.current.plan
    self.train('run')
    self.assertIn('Rounds 5 to 6 were released before their checkpoint was lost', self.stream.getvalue())
    self.assertNotEqual(self.saved('run').seed, seed)
    ledger = self.ledger('run')
    self.assertEqual((ledger['rounds'], ledger['round']), (8, 6))
    self.assertEqual(ledger['epsilon'], segments_lib.epsilon_of_plan(plan, 8))
    self.stream.truncate(0)
    self.train('run')
    self.assertIn('Nothing to do', self.stream.getvalue())


if __name__ == '__main__':
  absltest.main()
