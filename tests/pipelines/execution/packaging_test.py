"""Tests of the code that is sent to workers: complete, the same every time, and usable without the source tree."""

from importlib import metadata
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from apache_beam.options import pipeline_options
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability import stager

from pipelines.execution import packaging
from tests import layout

# What only the machine that starts a job, or looks at its result, imports; Beam and what it brings, which every worker
# has; and TensorFlow, which is large and only parses TFRecord files: who has such installs it (README.md says so).
_NOT_ON_WORKERS = {'absl-py', 'apache-beam', 'fastavro', 'jinja2', 'matplotlib', 'protobuf', 'tensorflow'}
_SENT = ('common/', 'contracts/', 'pipelines/')


class PackagingTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())

  def _install(self) -> str:
    target = os.path.join(self.folder, 'installed')
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index']
    wheel = packaging.write_wheel(self.folder)
    subprocess.run([*command, '--no-deps', f'--target={target}', wheel], check=True, timeout=120)
    return target

  def test_every_file_is_installed(self) -> None:
    target = pathlib.Path(self._install())
    ours = [path for path in layout.find_files() if path.startswith(_SENT)]
    self.assertContainsSubset(['pipelines/transforms.py', 'pipelines/readers/base.py'], ours)
    for path in ours:
      self.assertEqual((target / path).read_bytes(), (layout.ROOT / path).read_bytes())

  def test_it_is_enough_to_import_what_workers_run(self) -> None:
    empty = os.path.join(self.folder, 'empty')
    os.mkdir(empty)
    code = (
      'import pathlib, sys; from pipelines import transforms; print(transforms.__file__); '
      f'sys.exit(any(pathlib.Path({str(layout.ROOT)!r}) == pathlib.Path(path).resolve() for path in sys.path))'
    )
    environment = {**os.environ, 'PYTHONPATH': self._install()}
    command = [sys.executable, '-c', code]
    output = subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True, timeout=120).stdout
    self.assertStartsWith(output.decode(), self.folder)

  def test_the_same_code_gives_the_same_file(self) -> None:
    first = pathlib.Path(packaging.write_wheel(self.folder))
    content = first.read_bytes()
    self.assertEqual(packaging.write_wheel(self.folder), str(first))
    self.assertEqual(first.read_bytes(), content)

  def test_other_code_gives_another_version(self) -> None:
    copy = pathlib.Path(self.folder, 'copy')
    for name in _SENT:
      shutil.copytree(layout.ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    first = packaging.write_wheel(self.folder)
    with mock.patch.object(packaging, '_ROOT', copy):
      self.assertEqual(packaging.write_wheel(self.folder), first)
      (copy / 'common/files.py').write_text('')
      self.assertNotEqual(packaging.write_wheel(self.folder), first)

  def test_what_is_imported_is_required_in_the_version_of_this_machine(self) -> None:
    sources = [source for source in layout.read_sources() if source.path.startswith(_SENT)]
    imported = {layout.distribution(name) for source in sources for name in source.foreign_imports}
    self.assertEqual(imported - _NOT_ON_WORKERS, set(packaging.REQUIREMENTS))
    target = self._install()
    installed = list(metadata.distributions(name='pocketfed-pipelines', path=[target]))
    self.assertEqual(installed[0].requires, [f'{name}=={metadata.version(name)}' for name in packaging.REQUIREMENTS])

  def test_beam_takes_it_along_with_what_the_user_sends(self) -> None:
    mine = os.path.join(self.folder, 'mine-1.0.tar.gz')
    pathlib.Path(mine).write_bytes(b'')
    options = pipeline_options.PipelineOptions(['--runner=DataflowRunner', f'--extra_package={mine}'])
    packaging.add_to(options, self.folder)
    wheel = os.path.basename(packaging.write_wheel(self.folder))
    staged = stager.Stager.create_job_resources(options, tempfile.mkdtemp(dir=self.folder))
    parse = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString
    self.assertContainsSubset([wheel, 'mine-1.0.tar.gz'], [parse(part.role_payload).staged_name for part in staged])

  @parameterized.parameters((), ('--runner=DirectRunner',), ('--direct_num_workers=2',))
  def test_workers_of_this_machine_need_nothing(self, *flags: str) -> None:
    options = pipeline_options.PipelineOptions(list(flags))
    packaging.add_to(options, self.folder)
    self.assertEmpty(os.listdir(self.folder))


if __name__ == '__main__':
  absltest.main()
