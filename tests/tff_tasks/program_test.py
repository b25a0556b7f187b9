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


class BuildPlanTest(absltest.TestCase):
  def test_takes_the_noise_or_finds_it(self) -> None:
    self.assertEqual(program.build_plan(_SETTINGS, 100).noise_multiplier, 1.0)
    target = dataclasses.replace(_SETTINGS, noise_multiplier=None, target_epsilon=3.0)
    plan = program.build_plan(target, 100)
    self.assertBetween(plan.epsilon(4), 2.9, 3.0)
    self.assertIsNone(program.build_plan(dataclasses.replace(_SETTINGS, noise_multiplier=0.0), 100).epsilon(4))


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
    self.assertContainsSubset(
        ['config.flags', 'metrics.csv', 'privacy.json', 'run.json', 'model.npz', 'report.html', 'checkpoints'],
        os.listdir(self._settings.output_dir),
    )
    run, ledger = self._read('run.json'), self._read('privacy.json')
    self.assertEqual((run['rounds'], run['population'], ledger['rounds']), (4, len(fakes.SIZES), 4))
    self.assertEqual(run['epsilon'], ledger['epsilon'])
    self.assertBetween(run['accuracy'], 0.0, 1.0)
    model = released.load(self._settings.output_dir)
    self.assertEqual((model.round_number, model.model_size), (4, 5))
    self.assertEqual(run['weights'], sum(weight.size for weight in model.weights))

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

  def test_refuses_an_impossible_plan_before_it_writes(self) -> None:
    with self.assertRaisesRegex(ValueError, 'clients_per_round, found 900'):
      self._train(clients_per_round=900)
    self.assertFalse(os.path.exists(self._settings.output_dir))


if __name__ == '__main__':
  absltest.main()
