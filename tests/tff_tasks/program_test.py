import dataclasses
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

from models import released
from tests.tff_tasks import fakes
from tff_tasks import checkpoints
from tff_tasks import evaluation
from tff_tasks import metrics
from tff_tasks import privacy
from tff_tasks import program
from tff_tasks import seeds
from tff_tasks import settings as settings_lib

_SETTINGS = settings_lib.Settings(
    shards_dir='', output_dir='', total_rounds=4, clients_per_round=4, sampling='poisson', client_learning_rate=0.5,
    client_batch_size=4, client_epochs_per_round=1, max_examples_per_client=8, server_optimizer='adam',
    server_learning_rate=0.01, server_learning_rate_schedule='constant', model_size=5, clip_norm=0.1,
    quantization_bits=8, noise_multiplier=1.0, target_epsilon=None, delta=1e-3, rounds_per_eval=2,
    rounds_per_checkpoint=3, seed=None, runtime='local',
)  # fmt: skip


_WORDS = {
    'what': 'vocabulary', 'source': 'dp', 'mechanism': 'noisy counts', 'epsilon': 1.0, 'delta': 1e-5, 'unit': 'client',
    'adjacency': 'one client added or removed',
}  # fmt: skip


class BuildPlanTest(absltest.TestCase):
  def test_takes_the_noise_or_finds_it(self) -> None:
    self.assertEqual(program.build_plan(_SETTINGS, 100).noise_multiplier, 1.0)
    target = dataclasses.replace(_SETTINGS, noise_multiplier=None, target_epsilon=3.0)
    plan = program.build_plan(target, 100)
    self.assertBetween(plan.epsilon(4), 2.9, 3.0)
    self.assertIsNone(program.build_plan(dataclasses.replace(_SETTINGS, noise_multiplier=0.0), 100).epsilon(4))

  def test_the_target_includes_what_the_data_set_has_spent(self) -> None:
    target = dataclasses.replace(_SETTINGS, noise_multiplier=None, target_epsilon=3.0)
    plan = program.build_plan(target, 100, [_WORDS])
    self.assertBetween(plan.epsilon(4), 2.9, 3.0)
    self.assertBetween(plan.training_epsilon(4), 1.9, 2.0)
    with self.assertRaisesRegex(ValueError, 'above 2, which the data set alone has spent'):
      program.build_plan(dataclasses.replace(target, sampling='fixed', target_epsilon=2.0), 100, [_WORDS])


class RoundMetricsTest(absltest.TestCase):
  _PLAN = privacy.PrivacyPlan(population=50, clients_per_round=4, clip_norm=0.1)

  def _measured(self, clients: int) -> dict:
    sums = {'clients': clients, 'norm_sum': 3.0 * clients, 'clipped': clients // 2, 'rejected': 0}
    largest = 5.0 if clients else np.finfo(np.float32).min
    work = {'loss': 20.0 * clients, 'correct': 4.0 * clients, 'count': 10.0 * clients}
    return {'client_work': work, 'aggregator': {'sums': sums, 'norm_max': largest}}

  def test_divides_the_sums(self) -> None:
    row = program.round_metrics(3, self._measured(4), self._PLAN, 1000)
    self.assertEqual((row.round, row.clients, row.loss, row.accuracy), (3, 4, 2.0, 0.4))
    self.assertEqual((row.update_norm_mean, row.update_norm_max, row.clipped_share), (3.0, 5.0, 0.5))
    self.assertEqual((row.bytes_up_per_client, row.bytes_down_per_client), (1024, 4000))

  def test_nobody_came(self) -> None:
    row = program.round_metrics(3, self._measured(0), self._PLAN, 1000)
    self.assertEqual((row.clients, row.loss, row.update_norm_max, row.clipped_share), (0, None, None, None))


class TrainTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(folder, 'shards'))
    self._settings = dataclasses.replace(_SETTINGS, output_dir=os.path.join(folder, 'run'))

  def _train(self, flagfile: str = '--clip_norm=0.1\n', **changes: Any) -> str:
    stream = io.StringIO()
    program.train(dataclasses.replace(self._settings, **changes), self._shards, flagfile, stream)
    return stream.getvalue()

  def _read(self, name: str) -> dict:
    with open(os.path.join(self._settings.output_dir, name), encoding='utf-8') as file:
      return json.load(file)

  def test_writes_the_run_directory(self) -> None:
    output = self._train()
    self.assertIn('Privacy: epsilon', output)
    self.assertIn('every 2 rounds on 4 test users; in the end on 4 test users', output)
    self.assertContainsSubset(
        ['config.flags', 'metrics.csv', 'privacy.json', 'run.json', 'model.npz', 'report.html', 'checkpoints'],
        os.listdir(self._settings.output_dir),
    )
    run, ledger = self._read('run.json'), self._read('privacy.json')
    self.assertEqual((run['rounds'], run['population'], ledger['rounds']), (4, len(fakes.SIZES), 4))
    self.assertEqual((run['epsilon'], run['eval_split']), (ledger['epsilon'], 'test'))
    self.assertBetween(run['accuracy'], 0.0, 1.0)
    model = released.load(self._settings.output_dir)
    self.assertEqual((model.round_number, model.model_size), (4, 5))
    self.assertEqual(run['weights'], sum(weight.size for weight in model.weights))

  def test_what_the_data_set_has_spent_is_in_every_epsilon(self) -> None:
    self._shards.manifest['learned'] = [_WORDS]
    output = self._train()
    run, ledger = self._read('run.json'), self._read('privacy.json')
    self.assertEqual(run['epsilon'], ledger['epsilon'])
    self.assertAlmostEqual(run['epsilon'], 1.0 + run['training_epsilon'], places=12)
    self.assertIn('vocabulary', [release['what'] for release in ledger['releases']])
    self.assertIn(f'Privacy: epsilon {run["epsilon"]:.2f} (data set 1.00, training', output)
    last = metrics.MetricsLog(self._settings.output_dir, 4).rows[-1]
    self.assertAlmostEqual(last.epsilon or 0.0, run['epsilon'], places=4)

  def test_a_data_set_that_does_not_say_what_was_learned_is_refused(self) -> None:
    del self._shards.manifest['learned']
    with self.assertRaisesRegex(ValueError, 'Expected the manifest of .* to say what was learned'):
      self._train()
    self.assertFalse(os.path.exists(self._settings.output_dir))

  def test_a_finished_run_is_left_as_it_is(self) -> None:
    self._train()
    before = released.load(self._settings.output_dir)
    rows = metrics.MetricsLog(self._settings.output_dir, 4).rows
    self._train()
    for one, other in zip(before.weights, released.load(self._settings.output_dir).weights, strict=True):
      np.testing.assert_array_equal(one, other)
    self.assertEqual([row.round for row in rows], [0, 1, 2, 3, 4])
    self.assertEqual(metrics.MetricsLog(self._settings.output_dir, 4).rows, rows)

  def test_the_seed_is_kept_for_the_run_and_not_released(self) -> None:
    self._train(seed=123)
    self.assertIn('--seed', ' '.join(self._read('privacy.json')['not_covered']))
    secret = seeds.Seed.from_number(123).secret
    self.assertEqual(self._holders_of(secret), {'round_000003.ckpt', 'round_000004.ckpt'})

  def _holders_of(self, secret: bytes) -> set[str]:
    paths = [path for path in pathlib.Path(self._settings.output_dir).rglob('*') if path.is_file()]
    return {path.name for path in paths if secret in path.read_bytes()}

  def test_two_runs_draw_other_noise(self) -> None:
    self._train()
    first = released.load(self._settings.output_dir).weights
    other = os.path.join(os.path.dirname(self._settings.output_dir), 'other')
    self._train(output_dir=other)
    self.assertFalse(np.array_equal(first[0], released.load(other).weights[0]))

  def test_refuses_another_run_in_the_same_directory(self) -> None:
    self._train()
    with self.assertRaisesRegex(ValueError, 'clip_norm=0.1.*clip_norm=0.2'):
      self._train('--clip_norm=0.2\n')

  def test_the_figures_survive_the_loss_of_the_metrics(self) -> None:
    self._train()
    before = self._read('run.json')
    os.remove(os.path.join(self._settings.output_dir, metrics.FILE_NAME))
    self._train()
    self.assertEqual({**self._read('run.json'), 'seconds': None}, {**before, 'seconds': None})

  def test_a_round_is_saved_before_its_model_is_released(self) -> None:
    events: list[str] = []
    with (
        mock.patch.object(checkpoints.Checkpoints, 'save', side_effect=lambda *_: events.append('save')),
        mock.patch.object(released, 'save', side_effect=lambda *_: events.append('release')),
    ):
      self._train()
    self.assertEqual(events, ['save', 'release'] * 3 + ['release'])

  def test_a_run_that_lost_its_checkpoints_is_not_run_again_with_other_noise(self) -> None:
    self._train()
    model = released.load(self._settings.output_dir)
    shutil.rmtree(os.path.join(self._settings.output_dir, 'checkpoints'))
    with self.assertRaisesRegex(ValueError, 'Expected the checkpoints of the run'):
      self._train()
    np.testing.assert_array_equal(model.weights[0], released.load(self._settings.output_dir).weights[0])

  def test_a_finished_run_says_so(self) -> None:
    self._train()
    self.assertIn('Nothing to do', self._train())

  def test_needs_held_out_users_before_it_spends_anything(self) -> None:
    count = mock.patch.object(self._shards, 'num_clients', side_effect=lambda split: 0 if split == 'test' else 8)
    with count, self.assertRaisesRegex(ValueError, 'Expected held-out users'):
      self._train()
    self.assertFalse(os.path.exists(self._settings.output_dir))

  def test_watches_validation_users_and_measures_on_test_users(self) -> None:
    self._shards = fakes.write_shards(self.create_tempdir().full_path + '/shards', validation_users=2)
    output = self._train()
    self.assertIn('every 2 rounds on 2 validation users; in the end on 4 test users', output)
    model = released.load(self._settings.output_dir)
    keras = model.build()
    by_split = {
        split: evaluation.Evaluator(keras, self._shards, split).evaluate(model.weights)
        for split in ('validation', 'test')
    }
    last, run = metrics.MetricsLog(self._settings.output_dir, 4).rows[-1], self._read('run.json')
    self.assertNotAlmostEqual(by_split['validation'].loss, by_split['test'].loss, places=3)
    self.assertAlmostEqual(last.eval_loss, by_split['validation'].loss, places=5)
    self.assertAlmostEqual(run['loss'], by_split['test'].loss, places=5)
    self.assertEqual(run['eval_split'], 'validation')

  def test_refuses_an_impossible_plan_before_it_writes(self) -> None:
    with self.assertRaisesRegex(ValueError, 'clients_per_round, found 900'):
      self._train(clients_per_round=900)
    self.assertFalse(os.path.exists(self._settings.output_dir))


if __name__ == '__main__':
  absltest.main()
