import dataclasses
import functools
import io
import json
import os
import pathlib
import shutil
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import released_model
from models import functional_model
from models import registry
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tests.tff_tasks import scripted
from tff_tasks.evaluation import baselines
from tff_tasks.evaluation import evaluation
from tff_tasks.population import seeds
from tff_tasks.runtime import workers
from tff_tasks.training import checkpoints
from tff_tasks.training import metrics
from tff_tasks.training import run as run_lib


def _read_rows(run_dir: str) -> list[metrics.RoundMetrics]:
  """Returns the rows of the last checkpoint, which are those of metrics.csv."""
  saved = checkpoints.load_last(os.path.join(run_dir, 'secret/checkpoints'))
  assert saved is not None
  if pathlib.Path(run_dir, 'operator/metrics.csv').read_text() != saved.rows.to_csv():
    raise AssertionError('metrics.csv differs from the checkpoint')
  return list(saved.rows)


class LoopTest(parameterized.TestCase):
  """What becomes of a run whose rounds are scripted."""

  def setUp(self) -> None:
    super().setUp()
    folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(folder, 'shards'), sizes=(2,) * 30)
    self._run_dir = os.path.join(folder, 'run')
    self._stream = io.StringIO()
    self._runtimes: list[scripted.Runtime] = []

  def _train(self, script: scripted.Script = scripted.NOTHING_HAPPENS, **changes: Any) -> None:
    config = dataclasses.replace(fakes.CONFIG, output_dir=self._run_dir, **{'xla': 'auto', **changes})
    with script.play() as runtime:
      self._runtimes.append(runtime)
      run_lib.train(config, self._shards, '--seed=1\n', self._stream)

  def _rows(self) -> list[metrics.RoundMetrics]:
    return _read_rows(self._run_dir)

  def _figures(self) -> dict:
    return json.loads(pathlib.Path(self._run_dir, 'operator/run.json').read_text())

  def test_epsilon_is_worked_out_where_it_is_needed(self) -> None:
    self._train(total_rounds=9, rounds_per_eval=4, rounds_per_checkpoint=3)
    known = [row.round for row in self._rows() if row.epsilon is not None]
    self.assertEqual(known, [3, 4, 6, 8, 9])
    self.assertEqual(self._rows()[-1].epsilon, self._figures()['epsilon'])

  def test_rows_hold_what_travels(self) -> None:
    self._train()
    row = self._rows()[1]
    self.assertEqual((row.clients, row.bytes_down_per_client), (4, 4 * self._figures()['weights']))
    self.assertLess(row.bytes_up_per_client or 0, row.bytes_down_per_client or 0)

  def test_a_client_that_cannot_take_part_ends_the_run(self) -> None:
    name = self._shards.client_id('train', 7)
    with self.assertRaisesRegex(ValueError, f'found 1 that cannot: client {name}: Expected data; .*client_error=skip'):
      self._train(scripted.Script({3: [7]}))
    self.assertEqual([row.round for row in self._rows()], [0])
    saved = checkpoints.load_last(os.path.join(self._run_dir, 'secret/checkpoints'))
    assert saved is not None
    self.assertEqual(saved.round_number, 0)
    self.assertTrue(self._runtimes[-1].is_closed)
    self._train()  # The client is repaired.
    self.assertEqual(self._figures()['rounds'], 4)

  def test_or_is_skipped_counted_and_told(self) -> None:
    self._train(scripted.Script({2: [7, 8], 3: [7]}), on_client_error='skip')
    self.assertEqual([row.skipped_clients for row in self._rows()], [None, 0, 2, 1, 0])
    self.assertEqual(self._figures()['skipped_clients'], 3)
    said = self._stream.getvalue()
    for client in (7, 8):
      self.assertEqual(said.count(f'Skipped client {self._shards.client_id("train", client)}: Expected data.\n'), 1)
    self.assertIn('  3 skipped  ', said)
    report = pathlib.Path(self._run_dir, 'operator/report.html').read_text()
    self.assertIn('a client was skipped 3 times', report)

  def test_a_run_that_stopped_on_a_client_goes_on_without_it(self) -> None:
    with self.assertRaisesRegex(ValueError, 'found 1 that cannot'):
      self._train(scripted.Script({4: [7]}))
    self._train(scripted.Script({4: [7]}), on_client_error='skip')
    self.assertIn('Resuming after round 3', self._stream.getvalue())
    self.assertEqual([row.skipped_clients for row in self._rows()], [None, 0, 0, 0, 1])

  @parameterized.parameters(RuntimeError('a worker died'), SystemExit(3))
  def test_an_error_in_a_round_ends_the_run(self, error: Exception) -> None:
    with self.assertRaises(type(error)) as caught:
      self._train(scripted.Script(error=error))
    self.assertIs(caught.exception, error)
    self.assertTrue(self._runtimes[-1].is_closed)
    self.assertEqual([row.round for row in self._rows()], [0, 1, 2, 3])  # As saved.
    self._train()
    self.assertEqual([row.round for row in self._rows()], [0, 1, 2, 3, 4])

  def test_what_was_chosen_is_said_once_and_kept(self) -> None:
    with self.assertRaises(RuntimeError):
      self._train(scripted.Script(error=RuntimeError('a worker died')))
    self._train()
    self.assertEqual([runtime.use_xla for runtime in self._runtimes], [True, True])
    self.assertEqual([runtime.choice for runtime in self._runtimes], ['Clients train compiled by XLA.', ''])
    lines = self._stream.getvalue().splitlines()
    place = lines.index('Clients train compiled by XLA.')
    self.assertStartsWith(lines[place + 1], 'round 3/4 ')  # It is known, and so are figures, when a round is saved.
    self.assertEqual(lines.count('Clients train compiled by XLA.'), 1)
    self.assertEqual(self._figures()['runtime'], {'use_xla': True})

  @parameterized.parameters(('yes', True), ('no', False))
  def test_what_was_asked_for_is_not_said(self, flag: str, use_xla: bool) -> None:
    self._train(xla=flag)
    self.assertEqual([runtime.use_xla for runtime in self._runtimes], [use_xla])
    self.assertNotIn('Clients train', self._stream.getvalue())


class TrainTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(folder, 'shards'))
    self._config = dataclasses.replace(fakes.CONFIG, output_dir=os.path.join(folder, 'run'))

  def _train(self, flagfile: str = runs.FLAGFILE, **changes: Any) -> str:
    stream = io.StringIO()
    run_lib.train(dataclasses.replace(self._config, **changes), self._shards, flagfile, stream)
    return stream.getvalue()

  def _copy_finished(self) -> str:
    """Copies a finished run here and returns what it printed."""
    shutil.copytree(runs.finished_run()[0], self._config.output_dir)
    return runs.finished_run()[1]

  def _read(self, name: str) -> dict:
    with open(os.path.join(self._config.output_dir, name), encoding='utf-8') as file:
      return json.load(file)

  def test_writes_the_run_directory(self) -> None:
    output = self._copy_finished()
    self.assertIn('Privacy: epsilon', output)
    self.assertIn('every 2 rounds on 4 test users; in the end on 4 test users', output)
    operator = [f'operator/{name}' for name in ('metrics.csv', 'run.json', 'report.html', 'tensorboard')]
    for name in ('config.flags', 'public/model.npz', 'public/privacy.json', *operator):
      self.assertTrue(os.path.exists(os.path.join(self._config.output_dir, name)), name)
    self.assertEqual(os.stat(os.path.join(self._config.output_dir, 'secret')).st_mode & 0o777, 0o700)
    run, ledger = self._read('operator/run.json'), self._read('public/privacy.json')
    self.assertEqual((run['rounds'], run['population'], ledger['rounds']), (4, len(fakes.SIZES), 4))
    self.assertEqual((run['epsilon'], run['eval_split']), (ledger['epsilon'], 'test'))
    self.assertBetween(run['accuracy'], 0.0, 1.0)
    expected = baselines.Baselines(self._shards).measure('test')._asdict()
    self.assertEqual({name: run[name] for name in expected}, expected)
    self.assertEqual((run['eval_baseline_accuracy'], run['data_set']), (expected['baseline_accuracy'], 'shards'))
    said = f'a bigram {expected["bigram_accuracy"]:.1%}.'
    self.assertRegex(output, f'in the end on 4 test users.\nAlways answering .* {said}\n')
    self.assertRegex(output, r'  held-out \d+\.\d% \(bigram \d+\.\d%\)  ')
    self.assertRegex(output, f'\nAccuracy on 4 test users: {run["accuracy"]:.1%}, as a mean .*%.\nAlways .*{said}')
    model = released_model.load(self._config.output_dir)
    self.assertEqual((model.round_number, model.model_size), (4, 5))
    self.assertEqual(run['weights'], sum(weight.size for weight in model.weights))

  def test_what_the_data_set_has_spent_is_in_every_epsilon(self) -> None:
    self._shards.manifest['learned'] = [fakes.WORDS]
    output = self._train()
    run, ledger = self._read('operator/run.json'), self._read('public/privacy.json')
    self.assertEqual(run['epsilon'], ledger['epsilon'])
    self.assertAlmostEqual(run['epsilon'], 1.0 + run['training_epsilon'], places=12)
    self.assertIn('vocabulary', [release['what'] for release in ledger['releases']])
    self.assertIn(f'Privacy: epsilon {run["epsilon"]:.2f} (data set 1.00, training', output)
    last = _read_rows(self._config.output_dir)[-1]
    self.assertAlmostEqual(last.epsilon or 0.0, run['epsilon'], places=4)

  def test_a_data_set_that_does_not_say_what_was_learned_is_refused(self) -> None:
    del self._shards.manifest['learned']
    with self.assertRaisesRegex(ValueError, 'Expected the manifest of .* to say what was learned'):
      self._train()
    self.assertFalse(os.path.exists(self._config.output_dir))

  def test_a_finished_run_is_left_as_it_is(self) -> None:
    self._copy_finished()
    before = released_model.load(self._config.output_dir)
    rows = _read_rows(self._config.output_dir)
    self.assertIn('Nothing to do', self._train())
    for one, other in zip(before.weights, released_model.load(self._config.output_dir).weights, strict=True):
      np.testing.assert_array_equal(one, other)
    self.assertEqual([row.round for row in rows], [0, 1, 2, 3, 4])
    self.assertEqual(_read_rows(self._config.output_dir), rows)

  def test_the_seed_is_kept_for_the_run_and_not_released(self) -> None:
    self._train(seed=123)
    self.assertIn('--seed', ' '.join(self._read('public/privacy.json')['not_covered']))
    secret = seeds.Seed.from_number(123).secret
    self.assertEqual(self._holders_of(secret), {'round_000003.ckpt', 'round_000004.ckpt'})

  def _holders_of(self, secret: bytes) -> set[str]:
    paths = [path for path in pathlib.Path(self._config.output_dir).rglob('*') if path.is_file()]
    return {path.name for path in paths if secret in path.read_bytes()}

  def test_two_runs_draw_other_noise(self) -> None:
    self._train()
    one, other = (released_model.load(path) for path in (self._config.output_dir, runs.finished_run()[0]))
    self.assertFalse(np.array_equal(one.weights[0], other.weights[0]))

  def test_the_figures_survive_the_loss_of_the_metrics(self) -> None:
    self._copy_finished()
    before = self._read('operator/run.json')
    os.remove(os.path.join(self._config.output_dir, 'operator/metrics.csv'))
    self._train()
    self.assertEqual({**self._read('operator/run.json'), 'seconds': None}, {**before, 'seconds': None})

  def test_a_round_is_saved_before_its_model_is_released(self) -> None:
    events = mock.Mock()
    save, release, log = checkpoints.Checkpoints.save, released_model.save, metrics.MetricsLog.add
    events.save.side_effect, events.release.side_effect, events.log.side_effect = save, release, log
    with (
      mock.patch.object(checkpoints.Checkpoints, 'save', lambda *arguments: events.save(*arguments)),
      mock.patch.object(released_model, 'save', events.release),
      mock.patch.object(metrics.MetricsLog, 'add', lambda *arguments: events.log(*arguments)),
    ):
      self._train()
    self.assertEqual([call[0] for call in events.mock_calls], ['save', 'release', 'log'] * 3)

  def test_a_run_that_lost_its_checkpoints_is_not_run_again_with_other_noise(self) -> None:
    self._copy_finished()
    model = released_model.load(self._config.output_dir)
    shutil.rmtree(os.path.join(self._config.output_dir, 'secret/checkpoints'))
    with self.assertRaisesRegex(ValueError, 'Expected the checkpoints of the run'):
      self._train()
    np.testing.assert_array_equal(model.weights[0], released_model.load(self._config.output_dir).weights[0])

  def test_needs_held_out_users_before_it_spends_anything(self) -> None:
    count = mock.patch.object(self._shards, 'num_clients', side_effect=lambda split: 0 if split == 'test' else 8)
    with count, self.assertRaisesRegex(ValueError, 'Expected held-out users'):
      self._train()
    self.assertFalse(os.path.exists(self._config.output_dir))

  def test_watches_validation_users_and_measures_on_test_users(self) -> None:
    self._shards = fakes.write_shards(self.create_tempdir().full_path + '/shards', validation_users=2)
    output = self._train(seed=1)  # By which the two splits differ enough.
    self.assertIn('every 2 rounds on 2 validation users; in the end on 4 test users', output)
    model = released_model.load(self._config.output_dir)
    build_model = functools.partial(registry.get_task(fakes.SCHEMA.task).build_model, fakes.SCHEMA, model.model_size)
    functions = functional_model.FunctionalModel(build_model, 0)
    threads = workers.Workers(1)
    self.addCleanup(threads.close)
    by_split = {
      split: evaluation.Evaluator(functions, self._shards, split, threads).evaluate(model.weights)
      for split in ('validation', 'test')
    }
    last, run = _read_rows(self._config.output_dir)[-1], self._read('operator/run.json')
    self.assertNotAlmostEqual(by_split['validation'].loss, by_split['test'].loss, places=3)
    self.assertAlmostEqual(last.eval_loss, by_split['validation'].loss, places=5)
    self.assertAlmostEqual(run['loss'], by_split['test'].loss, places=5)
    self.assertEqual(run['eval_split'], 'validation')

  @parameterized.parameters('local', 'tff')
  def test_a_shard_that_is_damaged_after_the_start(self, runtime: str) -> None:
    client = int(np.argmax(self._shards.clients('train').examples))
    name = self._shards.client_id('train', client)
    fakes.damage(self._shards, client)
    everyone: dict[str, Any] = {'clients_per_round': len(fakes.SIZES), 'sampling': 'fixed', 'runtime': runtime}
    with self.assertRaisesRegex(ValueError, f'found 1 that cannot: client {name}: Expected the shard.*other content'):
      self._train(**everyone)
    output = self._train(on_client_error='skip', **everyone)
    self.assertEqual(output.count(f'Skipped client {name}: Expected the shard'), 1)
    rows = _read_rows(self._config.output_dir)[1:]
    self.assertEqual([(row.clients, row.skipped_clients) for row in rows], [(np.count_nonzero(fakes.SIZES) - 1, 1)] * 4)
    self.assertEqual(self._read('operator/run.json')['skipped_clients'], 4)

  def test_a_model_that_diverges(self) -> None:
    diverging: dict[str, Any] = {'client_learning_rate': 1e39}  # Infinite in float32.
    output = self._train(on_client_error='skip', **diverging)
    self.assertRegex(output, 'Skipped client .*Expected a finite update, found NaN')
    for weight in released_model.load(self._config.output_dir).weights:
      self.assertTrue(np.isfinite(weight).all())

  def test_refuses_an_impossible_plan_before_it_writes(self) -> None:
    with self.assertRaisesRegex(ValueError, 'clients_per_round, found 900'):
      self._train(clients_per_round=900)
    self.assertFalse(os.path.exists(self._config.output_dir))


if __name__ == '__main__':
  absltest.main()
