"""Tests of the program as a user starts it."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from tests.pipelines import inspected

_ROOT = pathlib.Path(__file__).parents[2]


class InspectTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.parent = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.folder = self.parent / 'shards'
    self.folder.mkdir()
    inspected.write(str(self.folder))

  def _run(self, *arguments: str, shards: str = '') -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-X', 'importtime', '-m', 'pipelines.inspect', f'--shards={shards or self.folder}']
    done = subprocess.run([*command, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    self.imported = {line.rpartition('|')[2].strip() for line in lines if line.startswith('import time:')}
    done.stderr = '\n'.join(line for line in lines if not line.startswith('import time:'))
    return done

  def test_prints_the_figures_and_writes_the_page_beside_the_folder(self) -> None:
    done = self._run(shards=f'{self.folder}{os.sep}')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertStartsWith(done.stdout, f'shards in {self.parent.name}/shards: 5 users')
    self.assertEndsWith(done.stdout, f'{self.folder}.html.\n')
    self.assertCountEqual([path.name for path in self.parent.iterdir()], ['shards', 'shards.html'])
    self.assertNotIn('apache_beam', self.imported)
    self.assertNotIn('tensorflow', self.imported)

  def test_shows_what_would_steer_a_terminal(self) -> None:
    other = self.parent / 'other'
    other.mkdir()
    steering = dataclasses.replace(inspected.SCHEMA, classes=('\x1b[2Jwalk', 'sit\x9b1m', 'run'))
    with mock.patch.object(inspected, 'SCHEMA', steering):
      inspected.write(str(other))
    for arguments in ([], ['--client=0']):
      done = self._run(*arguments, shards=str(other))
      self.assertEqual(done.returncode, 0, done.stderr)
      self.assertNotRegex(done.stdout, '[\x1b\x9b]')
      self.assertIn(r'\x1b[2Jwalk', done.stdout)
    self.assertNotRegex((self.parent / 'other.html').read_text(), '[\x1b\x9b]')

  def test_writes_the_page_elsewhere(self) -> None:
    done = self._run(f'--output={self.parent / "page.html"}')
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertCountEqual([path.name for path in self.parent.iterdir()], ['shards', 'page.html'])

  def test_verifies_a_whole_data_set_and_writes_nothing(self) -> None:
    done = self._run('--verify')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertEqual(done.stdout, 'Every checksum holds: 3 files, 6 entries of clients.\n')
    self.assertLen(list(self.parent.iterdir()), 1)

  def test_names_the_damaged_file_in_one_line(self) -> None:
    path = self.folder / 'shard-00000-of-00002.arrow'
    content = path.read_bytes()
    path.write_bytes(content[:-20] + bytes(20))
    done = self._run('--verify')
    self.assertEqual((done.returncode, done.stdout), (2, ''))
    self.assertRegex(done.stderr, '^error: Expected the shard-00000-of-00002.arrow .*other content.*$')

  def test_shows_one_client_without_loading_what_draws(self) -> None:
    done = self._run('--client=0')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertStartsWith(done.stdout, f'client {inspected.make_id("amy").hex()}\n')
    self.assertNotIn('matplotlib', self.imported)
    self.assertLen(list(self.parent.iterdir()), 1)

  def test_no_data_set_is_one_line(self) -> None:
    done = self._run(shards=str(self.parent))
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr, '^error: Expected a finished data set in .*$')


if __name__ == '__main__':
  absltest.main()
