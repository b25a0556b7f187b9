"""Tests that what the messages of training say to do works; some remedies are executed where the message is tested."""

from collections.abc import Callable
import dataclasses
import hashlib
import io
import os
import pathlib
import shutil
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import guarantees
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tests.tff_tasks import scripted
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.training import parts
from tff_tasks.training import run as run_lib

_SILENT: dict[str, Any] = {'noise_multiplier': 0.0}
_SPENT = guarantees.Cost(2.0, 5e-4)


class PlanTest(parameterized.TestCase):
  """Of privacy plans: the changed flag gives a plan, or an epsilon."""

  @parameterized.named_parameters(
    ('held_out', {'population': 0}, 'smaller test_users_share or valid', {'population': 8}),
    ('clip', {'clip_norm': None}, 'set --clip_norm', {'clip_norm': 0.1}),
    ('no_delta', {'delta': None}, 'set --delta', {'delta': 1e-3}),
    ('large_delta', {'delta': 0.5}, 'set --delta', {'delta': 1e-3}),
    ('spent_delta', {'learned': guarantees.Cost(1.0, 1e-3)}, 'set a larger --delta', {'delta': 2e-3}),
    ('smaller_deltas', {'learned': guarantees.Cost(1.0, 1e-3)}, 'with smaller deltas', {'learned': _SPENT}),
    ('bits', {'quantization_bits': 16, 'population': 2**17, 'delta': 1e-8}, 'fewer --quant', {'quantization_bits': 14}),
  )
  def test_a_plan(self, wrong: dict[str, Any], message: str, remedy: dict[str, Any]) -> None:
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(fakes.PLAN, **wrong)
    dataclasses.replace(fakes.PLAN, **{**wrong, **remedy})

  @parameterized.named_parameters(
    ('spent', 1.0, 4, 'set a larger --target_epsilon', {'target_epsilon': 3.0}),
    ('large', 101.0, 4, 'set a smaller one', {'target_epsilon': 100.0}),
    ('off', 101.0, 4, '--noise_multiplier=0 --target_epsilon=0', {'target_epsilon': 0.0, 'noise_multiplier': 0.0}),
    ('rounds', 2.0011, 10_000, 'set fewer --total_rounds', {'total_rounds': 1}),
    ('epsilon', 2.0011, 10_000, 'a larger --target_epsilon', {'target_epsilon': 5.0}),
    ('noise', 2.0011, 10_000, 'or --noise_multiplier instead', {'target_epsilon': None, 'noise_multiplier': 2.0}),
  )
  def test_a_target(self, epsilon: float, rounds: int, message: str, remedy: dict[str, Any]) -> None:
    wrong: dict[str, Any] = {'target_epsilon': epsilon, 'total_rounds': rounds, 'noise_multiplier': None}
    entries = [{**fakes.WORDS, 'epsilon': _SPENT.epsilon, 'delta': _SPENT.delta}]
    with self.assertRaisesRegex(ValueError, message):
      parts.build_plan(dataclasses.replace(fakes.CONFIG, **wrong), 8, entries)
    parts.build_plan(dataclasses.replace(fakes.CONFIG, **{**wrong, **remedy}), 8, entries)

  def test_smaller_epsilons_of_the_data_set(self) -> None:
    plan = dataclasses.replace(fakes.PLAN, learned=_SPENT)
    with self.assertRaisesRegex(ValueError, 'or preprocess with smaller epsilons'):
      segments_lib.calibrated(plan, 2.0, 4)
    segments_lib.calibrated(dataclasses.replace(plan, learned=_SPENT._replace(epsilon=1.0)), 2.0, 4)

  @parameterized.named_parameters(
    ('seed', {'is_seeded': True}, 4, 'leave --seed out', {'is_seeded': False}, 4),
    ('noise', {'noise_multiplier': 0.1}, 4, 'use more noise', {'noise_multiplier': 1.0}, 4),
    ('rounds', {'noise_multiplier': 0.3}, 99, 'or fewer rounds', {}, 1),
  )
  def test_a_promise(
    self, wrong: dict[str, Any], rounds: int, message: str, remedy: dict[str, Any], fewer: int
  ) -> None:
    plan = dataclasses.replace(fakes.PLAN, **wrong)
    self.assertRegex(segments_lib.why_no_promise([segments_lib.Segment(plan, rounds)]), message)
    self.assertEqual(
      segments_lib.why_no_promise([segments_lib.Segment(dataclasses.replace(plan, **remedy), fewer)]), ''
    )


class RunTest(runs.RunsTestCase):
  """Of run directories, in runs whose rounds are scripted."""

  def _refuse(self, message: str, name: str = 'run', **options: Any) -> None:
    with self.assertRaisesRegex(ValueError, message):
      self.train(name, **{**_SILENT, **options})

  def _folder(self, name: str) -> str:
    return self.path(name, 'secret/checkpoints')

  def _damage(self) -> None:
    first, last = sorted(pathlib.Path(self._folder('run')).iterdir())
    first.unlink()
    last.write_bytes(b'damaged')

  def _make_old(self) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, leaf_0000=np.zeros(3))
    content = buffer.getvalue()
    path = pathlib.Path(self._folder('run'), 'round_000009.ckpt')
    path.write_bytes(hashlib.sha256(content).digest() + content)

  def _take_other_data(self) -> None:
    self.shards = fakes.write_shards(self.path('others'), sizes=(3,) * 30)

  def test_another_output_dir(self) -> None:
    steps: list[tuple[str, Callable[[], object], dict[str, Any]]] = [
      ('Expected the flags', lambda: None, {'model_size': 9}),
      ('Expected a checkpoint of this model', lambda: None, {'script': scripted.Script(weights=4)}),
      ('found one of format 1', self._make_old, {}),
      ('found a damaged one', self._damage, {}),
      ('Expected the checkpoints of the run whose', lambda: shutil.rmtree(self._folder('run')), {}),
      ('found other shards', self._take_other_data, {}),
    ]
    self.train('run', **_SILENT)
    self.copy_checkpoints('run', 'whole')
    for number, (message, damage, options) in enumerate(steps):
      shutil.rmtree(self._folder('run'))
      self.copy_checkpoints('whole', 'run')
      damage()
      self._refuse(f'{message}.* choose another --output_dir', total_rounds=8, **options)
      self.train(f'another_{number}', total_rounds=1, **{**_SILENT, **options})

  def test_the_same_trace(self) -> None:
    ids = [self.shards.client_id('train', client) for client in range(30)]
    path = pathlib.Path(self.path('trace.csv'))
    always = ''.join(['client,slot\n', *(f'{client},1\n' for client in ids)])
    path.write_text(always)
    trace: dict[str, Any] = {'availability': str(path)}
    self.train('run', total_rounds=4, **_SILENT, **trace)
    path.write_text(always.replace(',1\n', ',0.5\n', 1))
    self._refuse('Expected the --availability that .* began with .*: give the same file to resume', **trace)
    self._refuse('Expected the --availability that .* began with', availability='diurnal')
    path.write_text(always)
    self.train('run', **_SILENT, **trace)
    self.assertEqual(self.saved('run').round_number, 6)
    self.assertIn('of those that are available (a trace of slots: 1, ', self.ledger('run')['sampling'])

  def test_the_same_capabilities(self) -> None:
    path, column = (pathlib.Path(self.path(name)) for name in ('capabilities.toml', 'classes.csv'))
    names = ['fast', *['slow'] * 29]
    lines = [f'{self.shards.client_id("train", client)},{name}\n' for client, name in enumerate(names)]
    column.write_text(''.join(['client,class\n', *lines]))
    classes = 'clients = "classes.csv"\n[classes.fast]\nepochs = 2\n[classes.slow]\n'
    path.write_text(classes)
    options: dict[str, Any] = {'capabilities': str(path)}
    self.train('run', total_rounds=4, **_SILENT, **options)
    self.assertIn('Capability classes: fast 1, slow 29 clients, SHA-256 ', self.stream.getvalue())
    refused = 'Expected the --capabilities that the run .* began with .*: give the same file to resume this run; or add'
    path.write_text(classes.replace('2', '3'))
    self._refuse(refused, **options)
    path.write_text(classes)
    column.write_text(column.read_text().replace('fast', 'slow'))
    self._refuse(refused, **options)
    self._refuse(refused)
    column.write_text(''.join(['client,class\n', *lines]))
    path.write_text('# A comment changes nothing.\n' + classes)
    self.train('run', **_SILENT, **options)
    # The clients of a scripted round are 0 to 3.
    rows = pathlib.Path(self.path('run', 'operator/metrics.csv')).read_text().splitlines()
    self.assertEndsWith(rows[0], ',seconds,clients_fast,clients_slow')
    self.assertEqual([row.split(',')[-2:] for row in rows[1:]], [['', ''], *[['1', '3']] * 6])
    report = pathlib.Path(self.path('run', 'operator/report.html')).read_text()
    self.assertIn('took part by capability class: fast 6 times; slow 18 times', report)
    # A branch may have others, or none.
    self.train('branch', branch_from=self.path('run'), total_rounds=7, **_SILENT)
    self.assertEqual(self.saved('branch').rows.classes, [])
    self._refuse('leave --capabilities out to resume', 'branch', total_rounds=8, **_SILENT, **options)
    self.train('branch', total_rounds=8, **_SILENT)

  def test_capabilities_are_read_before_anything_is_written(self) -> None:
    self._refuse('Expected --capabilities to be the path of a TOML file, found No such file', capabilities='gone.toml')
    self.assertFalse(os.path.exists(self.path('run')))

  def test_a_trace_is_read_before_anything_is_written(self) -> None:
    self._refuse('Expected --availability to be diurnal or the path of a trace', availability='gone.csv')
    self.assertFalse(os.path.exists(self.path('run')))

  def test_its_own_checkpoints(self) -> None:
    for name in ('run', 'other'):
      self.train(name, total_rounds=4, **_SILENT)
    shutil.move(self._folder('run'), self.path('own'))
    self.copy_checkpoints('other', 'run')
    self._refuse('found those of another run: replace them with its own')
    shutil.rmtree(self._folder('run'))
    shutil.move(self.path('own'), self._folder('run'))
    self.train('run', **_SILENT)
    self.assertEqual(self.saved('run').round_number, 6)

  def test_the_last_checkpoints(self) -> None:
    self.train('run', **_SILENT)
    os.remove(self.path('run', 'secret/checkpoints', 'round_000006.ckpt'))
    self.copy_checkpoints('run', 'older')
    self.train('run', **_SILENT)  # Runs released rounds again.
    shutil.move(self._folder('run'), self.path('last'))
    self.copy_checkpoints('older', 'run')
    self._refuse('found older ones, .*: replace them with the last ones')
    shutil.rmtree(self._folder('run'))
    shutil.move(self.path('last'), self._folder('run'))
    self.train('run', **_SILENT, total_rounds=7)
    self.assertEqual(self.saved('run').round_number, 7)

  def test_a_branch_with_another_plan(self) -> None:
    self.train('run', total_rounds=4, **_SILENT)
    self.shards.manifest['learned'] = [fakes.WORDS]
    self._refuse('Expected the privacy plan of the run .*: add --branch_from=.* and another --output_dir')
    self.train('branch', branch_from=self.path('run'), **_SILENT)
    self.assertEqual(self.saved('branch').round_number, 6)

  def test_a_branch_with_another_aggregation(self) -> None:
    gathered: dict[str, Any] = {'quantization_bits': 0, 'aggregation': 'median'}
    other: dict[str, Any] = {**gathered, 'aggregation': 'trimmed_mean', 'aggregation_options': ['share=0.2']}
    self.train('run', **_SILENT, **gathered)
    self._refuse(
      'flags of the run .*--aggregation=median.*: type the same flags .* --branch_from=', total_rounds=8, **other
    )
    self.train('run', **_SILENT, **gathered, total_rounds=7)
    self.assertEqual(self.ledger('run')['algorithm'], 'fed_avg, median')
    self.train('branch', total_rounds=8, branch_from=self.path('run'), **_SILENT, **other)
    self.assertEqual(self.ledger('branch')['algorithm'], 'fed_avg, trimmed_mean (share=0.2)')

  def test_a_run_to_branch_from(self) -> None:
    self._refuse('in --branch_from=nowhere, found none: name a run directory', branch_from='nowhere')
    self.train('run', total_rounds=4, **_SILENT)
    branch: dict[str, Any] = {'branch_from': self.path('run')}
    other: dict[str, Any] = {'script': scripted.Script(weights=4)}
    self._refuse('found one of another: leave --branch_from out', 'branch', **branch, **other)
    self.assertFalse(os.path.exists(self.path('branch')))
    self.train('branch', **_SILENT, **other)
    self._refuse('Expected a new run directory .*: choose another --output_dir', 'branch', **branch)
    self.train('second', **branch, **_SILENT)
    self.assertEqual(self.saved('second').round_number, 6)

  def test_a_run_without_rounds_is_deleted(self) -> None:
    with self.assertRaisesRegex(RuntimeError, 'broken'):
      self.train('run', scripted.Script(error=RuntimeError('broken')), total_rounds=1)
    self._refuse(
      f'delete {self.path("run")} to start anew: no round of it is done', 'run', total_rounds=1, clip_norm=0.2
    )
    shutil.rmtree(self.path('run'))
    self.train('run', total_rounds=1, clip_norm=0.2)
    self._refuse('add --branch_from', 'run', total_rounds=1, clip_norm=0.3)  # It has a round now.


class TrainingTest(absltest.TestCase):
  """Of training that fails, in runs that train."""

  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    self._folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(self._folder, 'shards'))
    self._stream = io.StringIO()

  def _train(self, name: str, **changes: Any) -> None:
    config = dataclasses.replace(
      fakes.CONFIG, output_dir=os.path.join(self._folder, name), **{'total_rounds': 2, **_SILENT, **changes}
    )
    run_lib.train(config, self._shards, '', self._stream)

  def test_lower_learning_rates(self) -> None:
    with self.assertRaisesRegex(ValueError, 'in a new --output_dir with a lower --client_learning_rate'):
      self._train('client', client_learning_rate=1e39)
    free: dict[str, Any] = {'clip_norm': None, 'quantization_bits': 0, 'server_optimizer': 'sgd'}
    with self.assertRaisesRegex(ValueError, 'a lower --server_learning_rate, and with a --clip_norm if there is none'):
      self._train('server', **free, server_learning_rate=1e9)
    self._train('lower', **{**free, 'clip_norm': 0.1}, client_learning_rate=0.1, server_learning_rate=0.5)
    self.assertIn('round 2/2', self._stream.getvalue())


if __name__ == '__main__':
  absltest.main()
