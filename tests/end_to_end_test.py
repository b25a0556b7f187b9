"""The three programs on the real data, small: killed at the worst moments, resumed, exported, and given bad input."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
from typing import ClassVar

from absl.testing import absltest
import numpy as np

from contracts import client_shards
from contracts import released_model
from tests import layout
from tests import preloaded
from tests.tff_tasks import fakes

_TRAIN = (
  '--total_rounds=6',
  '--clients_per_round=12',
  '--client_learning_rate=1.0',
  '--client_batch_size=4',
  '--max_examples_per_client=4',
  '--server_learning_rate=0.02',
  '--model_size=8',
  '--clip_norm=0.3',
  '--noise_multiplier=1.0',
  '--delta=1e-4',
  '--rounds_per_eval=3',
  '--rounds_per_checkpoint=2',
  '--seed=1',
  '--xla=no',  # Measured anew, it could be another choice in each run, and with it other last bits.
)

# Runs the trainer, and kills it like a power cut when it saves round N: before anything of the checkpoint is on the
# disk, while it is written, or when it is complete but the run does not know yet.
_KILLED = """
import os, signal, sys
from common import cli
from common import files
from tff_tasks.training import checkpoints
from tff_tasks import train

moment, round_number = sys.argv.pop(), int(sys.argv.pop())
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
save = checkpoints.Checkpoints.save

def save_and_die(self, program_state):
  if program_state.round_number == round_number:
    if moment == 'before':
      die()
    if moment == 'during':
      os.replace = die
  save(self, program_state)
  if program_state.round_number == round_number:
    die()

checkpoints.Checkpoints.save = save_and_die
cli.run(train.main)
"""


# Runs a program whose files may not grow beyond 12 kB: less than a checkpoint, more than the rest.
_CONFINED = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

_PREPROCESS = (
  '-m',
  'pipelines.preprocess',
  '--dataset=configs/datasets/shakespeare_characters.toml',
  '--input=examples/shakespeare/utterances.jsonl.gz',
  '--num_shards=8',
)
# Without what the tests themselves run under.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != 'TF_CPP_MIN_LOG_LEVEL'}


def _run(*command: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [preloaded.python(), *command],
    cwd=layout.ROOT,
    capture_output=True,
    text=True,
    timeout=250,
    check=False,
    stdin=subprocess.DEVNULL,
    env={**_ENVIRONMENT, 'PYTHONPATH': str(layout.ROOT)},
  )


class EndToEndTest(absltest.TestCase):
  folder: ClassVar[pathlib.Path]
  shards: ClassVar[str]
  run_dir: ClassVar[str]

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls.folder = pathlib.Path(absltest.get_default_test_tmpdir()) / f'end_to_end_{os.getpid()}'
    cls.shards, cls.run_dir = str(cls.folder / 'shards'), str(cls.folder / 'run')
    cls.folder.mkdir(parents=True)
    cls.addClassCleanup(shutil.rmtree, cls.folder)
    for command in (
      (*_PREPROCESS, f'--output_dir={cls.shards}', '--override=examples.window_length=20'),
      ('-m', 'tff_tasks.train', *_TRAIN, f'--shards_dir={cls.shards}', f'--output_dir={cls.run_dir}'),
    ):
      result = _run(*command)
      if result.returncode:
        raise AssertionError(result.stderr)

  def _train(self, run_dir: str, shards: str | None = None, *flags: str) -> subprocess.CompletedProcess[str]:
    return _run(
      '-m', 'tff_tasks.train', *_TRAIN, f'--shards_dir={shards or self.shards}', f'--output_dir={run_dir}', *flags
    )

  def _metrics(self, run_dir: str) -> list[list[str]]:
    """Returns the rows of metrics.csv but for the seconds, the last column."""
    lines = (pathlib.Path(run_dir) / 'operator/metrics.csv').read_text().splitlines()
    return [line.split(',')[:-1] for line in lines]

  def assert_refused(self, result: subprocess.CompletedProcess[str], *words: str) -> None:
    self.assertEqual(result.returncode, 2, result.stderr)
    lines = result.stderr.splitlines()
    self.assertLen(lines, 1, result.stderr)
    for word in ('error: Expected', 'found', *words):
      self.assertIn(word, lines[0])

  def test_a_run_that_is_killed_ends_as_if_it_had_not_been(self) -> None:
    run_dir = str(self.folder / 'killed')
    for round_number, moment in ((0, 'before'), (2, 'during'), (4, 'after'), (6, 'before')):
      program = (*_TRAIN, f'--shards_dir={self.shards}', f'--output_dir={run_dir}', str(round_number), moment)
      self.assertEqual(_run('-c', _KILLED, *program).returncode, -signal.SIGKILL)
    resumed = self._train(run_dir)
    self.assertEqual(resumed.returncode, 0, resumed.stderr)
    self.assertIn('Resuming after round 4', resumed.stdout)
    whole, broken = released_model.load(self.run_dir), released_model.load(run_dir)
    self.assertEqual(whole.round_number, broken.round_number)
    for one, other in zip(whole.weights, broken.weights, strict=True):
      np.testing.assert_array_equal(one, other)
    self.assertEqual(self._metrics(self.run_dir), self._metrics(run_dir))
    self.assertEmpty(list((pathlib.Path(run_dir) / 'secret/checkpoints').glob('*.part')), 'these hold the seed')

  def test_the_same_numbers_on_tffs_runtime(self) -> None:
    run_dir = str(self.folder / 'reference')
    result = self._train(run_dir, None, '--runtime=tff')
    self.assertEqual(result.returncode, 0, result.stderr)
    for one, other in zip(released_model.load(self.run_dir).weights, released_model.load(run_dir).weights, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-4)

  def test_exports_what_it_trained(self) -> None:
    model_dir = str(self.folder / 'model')
    result = _run('-m', 'export.to_tflite', f'--run_dir={self.run_dir}', f'--output_dir={model_dir}')
    self.assertEqual(result.returncode, 0, result.stderr)
    variants = json.loads((self.folder / 'model' / 'parity.json').read_text())['variants']
    self.assertGreaterEqual(variants['float32']['argmax_agreement'], 0.99)
    self.assertLess(variants['float32']['max_logit_difference'], 1e-3)
    self.assertLess(variants['dynamic_range']['bytes'], variants['float32']['bytes'])
    report = (self.folder / 'run' / 'operator/report.html').read_text()
    self.assertIn('next_character.dynamic_range.tflite', report)
    self.assertIn('(withheld)', report)

  def test_a_damaged_shard(self) -> None:
    shards = self.folder / 'damaged'
    shutil.copytree(self.shards, shards)
    shard = max(shards.glob('shard-*'), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[1000:-1000:64] = bytes(byte ^ 1 for byte in content[1000:-1000:64])
    shard.write_bytes(content)
    # The held-out users are read first, before any round.
    self.assert_refused(self._train(str(self.folder / 'on_damaged'), str(shards)), shard.name, 'other content')

  def test_clients_whose_data_is_damaged(self) -> None:
    path, run_dir = str(self.folder / 'damaged_clients'), str(self.folder / 'on_damaged_clients')
    shutil.copytree(self.shards, path)
    shards = client_shards.ClientShards(path)
    # Enough of them that one is in the first rounds, and none whose few examples another one may have as well.
    clients = np.flatnonzero(shards.clients('train').examples >= 10)[::5].tolist()
    for client in clients:
      fakes.damage(shards, client)
    self.assert_refused(self._train(run_dir, path), 'that cannot: client ', 'other content', 'error=skip')
    skipped = self._train(run_dir, path, '--on_client_error=skip')
    self.assertEqual((skipped.returncode, skipped.stderr), (0, ''))
    ids = [line.split()[2].rstrip(':') for line in skipped.stdout.splitlines() if line.startswith('Skipped client ')]
    self.assertLen(set(ids), len(ids))
    self.assertBetween(len(ids), 1, 10)
    self.assertContainsSubset(ids, [shards.client_id('train', client) for client in clients])
    figures = json.loads((pathlib.Path(run_dir) / 'operator/run.json').read_text())
    self.assertGreaterEqual(figures['skipped_clients'], len(ids))
    self.assertIn('a client was skipped', (pathlib.Path(run_dir) / 'operator/report.html').read_text())

  def test_a_damaged_checkpoint(self) -> None:
    run_dir = self.folder / 'damaged_checkpoint'
    shutil.copytree(self.run_dir, run_dir)
    checkpoint = run_dir / 'secret/checkpoints' / 'round_000006.ckpt'
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:-100])
    before = {path: path.read_bytes() for path in run_dir.rglob('*') if path.is_file()}
    self.assert_refused(self._train(str(run_dir)), 'round_000006.ckpt', 'delete it')
    self.assertEqual(before, {path: path.read_bytes() for path in run_dir.rglob('*') if path.is_file()})
    checkpoint.unlink()  # The noise is of a known seed: there is no promise to keep by drawing another one.
    result = self._train(str(run_dir))
    self.assertEqual(result.returncode, 0, result.stderr)
    found, expected = (released_model.load(path).weights for path in (str(run_dir), self.run_dir))
    for one, other in zip(expected, found, strict=True):
      np.testing.assert_array_equal(one, other)

  def test_shards_of_another_schema(self) -> None:
    shards = str(self.folder / 'other')
    result = _run(*_PREPROCESS, f'--output_dir={shards}', '--override=examples.window_length=30')
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assert_refused(self._train(self.run_dir, shards), 'other shards')
    self.assert_refused(
      _run(
        '-m',
        'export.to_tflite',
        f'--run_dir={self.run_dir}',
        f'--shards_dir={shards}',
        f'--output_dir={self.folder / "no_model"}',
      )
    )

  def test_nowhere_to_write(self) -> None:
    for run_dir in ('/proc/run', os.path.join(self.shards, 'manifest.json')):
      self.assert_refused(self._train(run_dir), 'choose another --output_dir')

  def test_a_disk_that_fills_up(self) -> None:
    run_dir = str(self.folder / 'full')
    train = ('-m', 'tff_tasks.train', *_TRAIN, f'--shards_dir={self.shards}', f'--output_dir={run_dir}')
    result = _run('-c', _CONFINED, *train)
    self.assert_refused(result, 'File too large', run_dir)
    # With room again, the same command ends as if nothing had happened.
    self.assertEqual(self._train(run_dir).returncode, 0)
    for one, other in zip(released_model.load(self.run_dir).weights, released_model.load(run_dir).weights, strict=True):
      np.testing.assert_array_equal(one, other)

  def test_impossible_plans(self) -> None:
    run_dir = str(self.folder / 'impossible')
    for change, word in (
      ('--clients_per_round=5000', 'clients_per_round'),
      ('--delta=0.5', 'delta'),
      ('--clip_norm=0', 'clip_norm'),
    ):
      arguments = (*_TRAIN, change, f'--shards_dir={self.shards}', f'--output_dir={run_dir}')
      self.assert_refused(_run('-m', 'tff_tasks.train', *arguments), word)
    self.assertFalse(os.path.exists(run_dir))


if __name__ == '__main__':
  absltest.main()
