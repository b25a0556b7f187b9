"""A whole preprocessing job on a real Apache Flink cluster, whose workers have nothing but the installed package."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from unittest import mock

from absl.testing import absltest
from apache_beam.utils import subprocess_server

from pipelines.execution import packaging
from tests import layout
from tests.pipelines import flink
from tests.pipelines import processes

# Set where this has to run, as in CI: then what would skip it fails.
_REQUIRED = 'POCKETFED_FLINK_REQUIRED'
_SECONDS = 240
# Prints both process ids; the trap passes on the end, as Python does for its own.
_PARENT_AND_CHILD = ['bash', '-c', r'trap "kill \$!" TERM; sleep 60 & echo $$ $!; wait']


def _preprocess(output_dir: pathlib.Path, *beam_flags: str) -> list[str]:
  return [
    sys.executable,
    '-m',
    'pipelines.preprocess',
    '--dataset=configs/datasets/shakespeare_characters.toml',
    f'--input={layout.ROOT}/examples/shakespeare/utterances.jsonl.gz',
    f'--output_dir={output_dir}',
    '--num_shards=6',
    *beam_flags,
  ]


def _install(folder: pathlib.Path) -> str:
  """Installs what pipelines.execution.packaging sends to workers into a folder of its own."""
  target = str(folder / 'installed')
  command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps']
  subprocess.run([*command, f'--target={target}', packaging.write_wheel(str(folder))], check=True, timeout=120)
  return target


def _is_running(pid: int) -> bool:
  try:
    return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
  except FileNotFoundError:
    return False


class _FolderTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))


class FlinkTest(_FolderTest):
  def setUp(self) -> None:
    super().setUp()
    try:
      self.job_server = flink.find_job_server()
    except flink.Unavailable as error:
      if os.environ.get(_REQUIRED):
        raise
      self.skipTest(str(error))

  def test_a_cluster_makes_the_same_bytes_as_the_direct_runner(self) -> None:
    direct, on_flink = self.folder / 'direct', self.folder / 'flink'
    subprocess.run(_preprocess(direct), cwd=layout.ROOT, check=True, timeout=_SECONDS)
    with flink.run_cluster(self.job_server) as cluster:
      with flink.run_worker_pool(_install(self.folder), cluster.folder) as worker_pool:
        flink.call(_preprocess(on_flink, *cluster.beam_flags(worker_pool)), cluster, _SECONDS)
      self.assertLen(cluster.at_work('GroupReduce'), 2)
    names = sorted(os.listdir(direct))
    self.assertEqual(sorted(os.listdir(on_flink)), names)
    self.assertLen([name for name in names if name.startswith('shard-')], 6)
    for name in set(names) - {'manifest.json'}:
      self.assertEqual((on_flink / name).read_bytes(), (direct / name).read_bytes(), name)
    manifests = [json.loads((folder / 'manifest.json').read_text()) for folder in (direct, on_flink)]
    for manifest in manifests:
      self.assertGreater(manifest.pop('seconds'), 0)
      manifest.pop('checksum')  # It covers the seconds.
    self.assertEqual(*manifests)


class UnavailableTest(absltest.TestCase):
  """What a machine without Flink is told."""

  def test_without_java(self) -> None:
    with mock.patch.object(shutil, 'which', return_value=None), self.assertRaisesRegex(flink.Unavailable, 'Java'):
      flink.find_job_server()

  def test_without_the_registry(self) -> None:
    java = mock.patch.object(shutil, 'which', return_value='java')
    fetch = mock.patch.object(subprocess_server.JavaJarServer, 'local_jar', side_effect=RuntimeError('no network'))
    with java, fetch, self.assertRaisesRegex(flink.Unavailable, 'Maven Central, found no network'):
      flink.find_job_server()

  def test_with_a_damaged_file(self) -> None:
    java = mock.patch.object(shutil, 'which', return_value='java')
    fetch = mock.patch.object(subprocess_server.JavaJarServer, 'local_jar', return_value=__file__)
    with java, fetch, self.assertRaisesRegex(ValueError, 'SHA-256'):
      flink.find_job_server()


class ProcessesTest(_FolderTest):
  """What is started for a test ends with it, however that ends."""

  def _pids(self) -> list[int]:
    path = self.folder / 'log'
    while len(path.read_text().split()) < 2:
      time.sleep(0.01)
    return [int(pid) for pid in path.read_text().split()]

  def test_an_error_ends_the_program_and_what_it_started(self) -> None:
    with self.assertRaises(KeyError), processes.running(_PARENT_AND_CHILD, self.folder / 'log'):
      pids = self._pids()
      self.assertTrue(all(map(_is_running, pids)))
      raise KeyError
    self.assertFalse(any(map(_is_running, pids)))

  def test_being_killed_ends_the_program(self) -> None:
    code = 'import sys, pathlib; from tests.pipelines import processes; import time\n' + (
      f'with processes.running({_PARENT_AND_CHILD!r}, pathlib.Path({str(self.folder / "log")!r})): time.sleep(60)'
    )
    with subprocess.Popen([sys.executable, '-c', code], cwd=layout.ROOT) as process:
      while not (self.folder / 'log').exists():
        time.sleep(0.01)
      pids = self._pids()
      process.kill()
    deadline = time.monotonic() + 10
    while any(map(_is_running, pids)) and time.monotonic() < deadline:
      time.sleep(0.01)
    self.assertFalse(any(map(_is_running, pids)))


if __name__ == '__main__':
  absltest.main()
