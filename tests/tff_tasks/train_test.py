"""Tests of the program as a user starts it: flags are checked before anything slow, and reach the run as they are.

In processes of their own: two programs define flags of the same name, which one process cannot hold.
"""

from collections.abc import Sequence
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from tests import layout
from tests.tff_tasks import fakes

_HEAVY = ('tensorflow', 'tensorflow_federated', 'keras', 'dp_accounting', 'scipy')
_REQUIRED = {
  'shards_dir': 'nowhere',
  'output_dir': 'run',
  'total_rounds': 4,
  'clients_per_round': 3,
  'client_learning_rate': 0.5,
  'client_batch_size': 4,
  'max_examples_per_client': 8,
  'server_learning_rate': 0.01,
}
_PROX = {'algorithm': 'fed_prox', 'algorithm_options': 'mu=0.1'}
_PRIVATE = {'noise_multiplier': 1.0, 'clip_norm': 0.3, 'delta': 1e-4}

# Runs the program on a `tff_tasks.training.run` that only says what it was given, or fails if that is asked.
_WITHOUT_TENSORFLOW = """
import dataclasses, json, sys
from unittest import mock

def train(config, shards, flagfile, stream):
  if config.output_dir == 'full':
    raise OSError(28, 'No space left on device', 'full')
  if config.output_dir == 'mistaken':
    raise ValueError('Expected one thing,\\nfound another.')
  started = {'config': dataclasses.asdict(config), 'shards': shards.path, 'flagfile': flagfile}
  print(json.dumps(started), file=stream)

sys.modules['tensorflow'] = mock.Mock()
sys.modules['tff_tasks.runtime.contexts'] = mock.Mock()
sys.modules['tff_tasks.training.run'] = mock.Mock(train=train)
from common import cli
from tff_tasks import train as program
cli.run(program.main)
"""


def _flags(**values: object) -> list[str]:
  return [f'--{name}={value}' for name, value in values.items() if value is not None]


def _run(command: Sequence[str], arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, *command, *arguments]
  return subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=60, check=False)


class FlagsTest(parameterized.TestCase):
  def _assert_refused(self, arguments: Sequence[str], message: str) -> None:
    """Checks for exit code 2 and one line, before anything slow was imported."""
    done = _run(['-X', 'importtime', '-m', 'tff_tasks.train'], arguments)
    lines = done.stderr.splitlines()
    imported = {line.rpartition('|')[2].strip() for line in lines if line.startswith('import time:')}
    said = [line for line in lines if not line.startswith('import time:')]
    self.assertEqual((done.returncode, done.stdout), (2, ''))
    self.assertLen(said, 1, said)
    self.assertRegex(said[0], f'^error: .*{message}')
    self.assertIn('absl.flags', imported)
    self.assertEmpty(imported.intersection(_HEAVY))

  @parameterized.parameters(*_REQUIRED)
  def test_must_be_given(self, name: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE | {name: None}), f'Missing --{name}: ')

  @parameterized.parameters(
    ('total_rounds', 0),
    ('clients_per_round', 0),
    ('client_learning_rate', -0.1),
    ('client_batch_size', 0),
    ('client_epochs_per_round', 0),
    ('max_examples_per_client', 0),
    ('server_learning_rate', -1),
    ('server_learning_rate_schedule', 'cosine'),
    ('server_optimizer', 'lamb'),
    ('sampling', 'all'),
    ('model_size', 0),
    ('clip_norm', -0.3),
    ('quantization_bits', 1),
    ('quantization_bits', 17),
    ('noise_multiplier', -1),
    ('delta', 1.1),
    ('rounds_per_eval', 0),
    ('rounds_per_checkpoint', 0),
    ('client_learning_rate', 'nan'),
    ('server_learning_rate', 'inf'),
    ('runtime', 'beam'),
    ('xla', 'maybe'),
    ('on_client_error', 'retry'),
    ('seed', 'random'),
    ('total_rounds', 'many'),
    ('max_gradient_norm', 0),
    ('personalize_epochs', -1),
    ('personalize_learning_rate', 'inf'),
    ('personalize_learning_rate', -0.5),
  )
  def test_must_be_in_range(self, name: str, value: object) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE | {name: value}), name)

  @parameterized.parameters((1.0, 7.0), (0.0, 7.0), (None, None), (None, 0.0))
  def test_noise_is_said_in_one_way(self, noise_multiplier: float | None, target_epsilon: float | None) -> None:
    noise = {'noise_multiplier': noise_multiplier, 'target_epsilon': target_epsilon}
    self._assert_refused(_flags(**_REQUIRED | noise), 'Expected one of --noise_multiplier and --target_epsilon')

  def test_a_learning_rate_of_no_fine_tuning_is_refused(self) -> None:
    flags = _REQUIRED | _PRIVATE | {'personalize_learning_rate': 0.5}
    self._assert_refused(_flags(**flags), 'found none: add --personalize_epochs=1, or leave the learning rate out')
    self._assert_refused(_flags(**flags, personalize_epochs=1), 'Expected a finished data set')

  def test_a_preset_with_a_target_can_be_overridden(self) -> None:
    noise = {'noise_multiplier': 0.0, 'target_epsilon': 0.0}
    self._assert_refused(_flags(**_REQUIRED | noise), 'Expected a finished data set')

  @parameterized.parameters('noise_multiplier', 'target_epsilon')
  def test_noise_is_a_finite_number(self, name: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | {name: 'inf'}), 'Expected a finite number')

  @parameterized.parameters(
    ('fed_porx', '', 'did you mean fed_prox'),
    ('fed_prox', '', 'Expected the options mu of fed_prox'),
    ('fed_prox', 'mu=x', 'Expected a number for option mu'),
    ('fed_avg', 'mu=1', 'among none for fed_avg'),
  )
  def test_algorithms_and_their_options(self, name: str, options: str, message: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE, algorithm=name, algorithm_options=options), message)

  @parameterized.parameters(
    ('medain', '', 'did you mean median'),
    ('krum', '', 'Expected the options byzantine of krum'),
    ('trimmed_mean', 'share=0.5', 'Expected share of at least 0 and below 0.5'),
    ('mean', 'share=0.1', 'among none for mean'),
    ('median', '', 'Expected no noise with --aggregation=median'),
  )
  def test_aggregations_and_their_options(self, name: str, options: str, message: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE, aggregation=name, aggregation_options=options), message)

  @parameterized.parameters(
    ('poison', '', 'did you mean poisson'),
    ('min_separation', '', 'Expected the options separation of min_separation'),
    ('min_separation', 'separation=0', 'Expected separation of at least 1'),
    ('poisson', 'separation=2', 'among none for poisson'),
  )
  def test_samplers_and_their_options(self, name: str, options: str, message: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE, sampling=name, sampling_options=options), message)

  @parameterized.parameters(
    ('gausian', '', 'did you mean gaussian'),
    ('bisr', 'bandwidth=0', 'Expected bandwidth of 1 to 256, found 0'),
    ('gaussian', 'bandwidth=2', 'among none for gaussian'),
  )
  def test_mechanisms_and_their_options(self, name: str, options: str, message: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE, mechanism=name, mechanism_options=options), message)

  @parameterized.parameters(
    ({'compression': 'quantisation'}, 'did you mean quantization'),
    ({'compression_options': 'bits=4'}, 'Expected no --compression_options with .* set --quantization_bits'),
  )
  def test_compressions_and_their_options(self, wrong: dict[str, str], message: str) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE | wrong), message)

  def test_shards_that_are_not_there(self) -> None:
    self._assert_refused(_flags(**_REQUIRED | _PRIVATE), 'Expected a finished data set in nowhere, found no manifest')

  def test_presets_hold_flags_that_exist(self) -> None:
    presets = [path for path in pathlib.Path(layout.ROOT, 'configs').glob('*.flags') if '_data' not in path.name]
    self.assertNotEmpty(presets)
    for path in presets:
      self._assert_refused([f'--flagfile={path}', '--shards_dir=nowhere'], 'Expected a finished data set in nowhere')


class MainTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._shards = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'shards')
    fakes.write_shards(self._shards)

  def _main(self, **values: object) -> subprocess.CompletedProcess[str]:
    flags = _flags(**_REQUIRED | _PRIVATE | {'shards_dir': self._shards} | values)
    return _run(['-c', _WITHOUT_TENSORFLOW], flags)

  def test_flags_are_the_settings(self) -> None:
    done = self._main(quantization_bits=4, sampling='fixed', model_size=16)
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    started = json.loads(done.stdout)
    given = _REQUIRED | _PRIVATE | {'shards_dir': self._shards, 'quantization_bits': 4, 'sampling': 'fixed'}
    self.assertEqual(started['config'], started['config'] | given | {'model_size': 16, 'target_epsilon': None})
    self.assertEqual(started['shards'], self._shards)

  def test_what_is_not_given_is_no_flag_of_the_run(self) -> None:
    plain = json.loads(self._main().stdout)['flagfile']
    given = json.loads(self._main(availability='diurnal', capabilities='classes.toml').stdout)['flagfile']
    for name, value in (('availability', 'diurnal'), ('capabilities', 'classes.toml')):
      self.assertNotIn(name, plain)
      self.assertIn(f'--{name}={value}\n', given)

  @parameterized.parameters('algorithm', 'aggregation', 'sampling', 'mechanism', 'compression', 'runtime')
  def test_one_of_the_users_own_is_refused_in_one_line(self, flag: str) -> None:
    done = self._main(**{flag: 'json:dumps'})
    self.assertEqual((done.returncode, done.stdout), (2, ''))
    self.assertRegex(done.stderr, "^error: Expected a frozen dataclass, found 'json:dumps': .*\n$")

  def test_the_flags_of_the_run_start_the_same_run(self) -> None:
    started = json.loads(self._main(noise_multiplier=None, target_epsilon=0.1, seed=-3, delta=1e-12, **_PROX).stdout)
    flagfile = self.create_tempfile(content=started['flagfile']).full_path
    again = _run(['-c', _WITHOUT_TENSORFLOW], [f'--flagfile={flagfile}'])
    self.assertEqual(json.loads(again.stdout), started)
    for flag in ('--algorithm_options=mu=0.1\n', '--runtime=local\n', '--xla=auto\n', '--on_client_error=stop\n'):
      self.assertIn(flag, started['flagfile'])
    self.assertNotIn('noise_multiplier', started['flagfile'])

  @parameterized.parameters(
    ('full', "^error: .*No space left on device: 'full'\n$"),
    ('mistaken', '^error: Expected one thing, found another.\n$'),
  )
  def test_a_mistake_found_later_is_one_line_and_2(self, output_dir: str, message: str) -> None:
    done = self._main(output_dir=output_dir)
    self.assertEqual((done.returncode, done.stdout), (2, ''))
    self.assertRegex(done.stderr, message)


if __name__ == '__main__':
  absltest.main()
