"""Tests of reading what a run leaves, whole, missing or damaged."""

import math
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from common import sealed_json
from contracts import run_directory


class RunDirectoryTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.enterContext(tempfile.TemporaryDirectory())
    run_directory.make(self._run_dir)

  def _write(self, name: str, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    pathlib.Path(self._run_dir, name).write_bytes(data)

  def test_reads_flags_without_secrets(self) -> None:
    self._write('config.flags', '# ours\n--shards_dir=a=b\n--seed=271828\n-noise_seed=31\n--nocentered\n\n--options=\n')
    flags = run_directory.read_flags(self._run_dir)
    secrets = [(name, '(withheld)') for name in ('seed', 'noise_seed')]
    self.assertEqual(flags, [('shards_dir', 'a=b'), *secrets, ('nocentered', ''), ('options', '')])
    withheld = ['--seed=(withheld)', '--noise_seed=(withheld)']
    lines = ['--shards_dir=a=b', *withheld, '--nocentered', '--options=']
    self.assertEqual(run_directory.read_flag_lines(self._run_dir), lines)
    self.assertEqual(run_directory.read_flag(self._run_dir, 'shards_dir'), 'a=b')
    self.assertIsNone(run_directory.read_flag(self._run_dir, 'clip_norm'))

  def test_reads_numbers_among_flags(self) -> None:
    self._write('config.flags', '--rate=0.5\n--size=7\n--word=x\n')
    self.assertEqual(run_directory.read_number(self._run_dir, 'rate', float), 0.5)
    self.assertEqual(run_directory.read_number(self._run_dir, 'size', int), 7)
    for name, found in (('other', 'none'), ('word', 'x')):
      message = f'^Expected --{name} in .*config.flags, found {found}: repeat the training command, which writes it'
      with self.assertRaisesRegex(ValueError, message):
        run_directory.read_number(self._run_dir, name, int)

  def test_reads_metrics_with_gaps(self) -> None:
    self._write('operator/metrics.csv', 'round,loss,epsilon\n0,,\n1,2.5,nan\n2,inf,0.5\n')
    metrics = run_directory.read_metrics(self._run_dir)
    self.assertEqual(metrics['round'], [0, 1, 2])
    self.assertEqual([math.isnan(value) for value in metrics['loss']], [True, False, True])
    self.assertEqual(metrics['epsilon'][2], 0.5)

  def test_reads_figures_by_the_names_of_an_earlier_version(self) -> None:
    self._write('operator/metrics.csv', 'round,left_out_clients\n0,\n1,2\n')
    self.assertEqual(run_directory.read_metrics(self._run_dir)['skipped_clients'][1], 2)
    self._write('operator/run.json', sealed_json.dumps({'rounds': 3, 'left_out_clients': 5}))
    figures = run_directory.read_figures(self._run_dir)
    self.assertEqual((figures['rounds'], figures['skipped_clients']), (3, 5))
    self.assertNotIn('left_out_clients', figures)

  def test_missing_files_read_as_empty(self) -> None:
    self.assertEqual(run_directory.read_flags(self._run_dir), [])
    self.assertEqual(run_directory.read_metrics(self._run_dir), {})
    self.assertEqual(run_directory.read_json(self._run_dir, 'operator/run.json'), {})

  @parameterized.parameters('round,loss\n1,high\n', 'round,loss\n1\n', 'round\n1\n1,2\n', '', b'round\n\xff\n')
  def test_refuses_damaged_metrics(self, content: str | bytes) -> None:
    self._write('operator/metrics.csv', content)
    with self.assertRaisesRegex(ValueError, '^Expected numbers in .*metrics.csv, found others'):
      run_directory.read_metrics(self._run_dir)

  @parameterized.parameters('{"a": ', '[1]', b'\xff')
  def test_refuses_damaged_json(self, content: str | bytes) -> None:
    self._write('operator/run.json', content)
    with self.assertRaisesRegex(ValueError, '^Expected .*JSON.* in .*run.json'):
      run_directory.read_json(self._run_dir, 'operator/run.json')

  def test_refuses_flags_that_are_no_text(self) -> None:
    self._write('config.flags', b'--a=\xff')
    with self.assertRaisesRegex(ValueError, '^Expected a flag file'):
      run_directory.read_flags(self._run_dir)

  def test_makes_its_folders_and_only_the_owner_reads_the_secret_one(self) -> None:
    run_dir = os.path.join(self._run_dir, 'new')
    for _ in range(2):
      run_directory.make(run_dir)
      modes = {name: os.stat(os.path.join(run_dir, name)).st_mode & 0o777 for name in os.listdir(run_dir)}
      self.assertEqual(modes.keys(), {'public', 'operator', 'secret'})
      self.assertEqual(modes['secret'], 0o700)

  def test_a_directory_of_an_earlier_version_is_refused_by_name(self) -> None:
    run_dir = os.path.join(self._run_dir, 'old')
    os.makedirs(os.path.join(run_dir, 'checkpoints'))
    for function in (run_directory.make, run_directory.check_version):
      with self.assertRaisesRegex(ValueError, 'one of an earlier version .* train again in another --output_dir'):
        function(run_dir)
    self.assertEqual(os.listdir(run_dir), ['checkpoints'])


if __name__ == '__main__':
  absltest.main()
