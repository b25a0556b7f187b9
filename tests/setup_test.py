"""Setting up: the pinned list is complete and bare, and `make setup` checks Python, resumes and rests."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import unittest
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tests import layout

_NAME = re.compile('[a-z0-9-]+')
_PIN = re.compile(r'^([a-z0-9-]+)==(\S+) \\$', re.MULTILINE)
_PINS_WITH_HASHES = re.compile(
  r'(#.*\n)+--only-binary :all:\n\n([a-z0-9-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n)+'
)
_RUFF = pathlib.Path(sys.executable).with_name('ruff')

# An interpreter that says what it is told to say, and installs by writing down that it did.
_FAKE_PYTHON = """#!/bin/sh
case "$*" in
  "-c "*) echo "{platform}" ;;
  "-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip install "*) echo "$*" >> pip.log; exit {pip_code} ;;
esac
"""


def _read(name: str) -> str:
  return (layout.ROOT / name).read_text()


class PinnedListTest(absltest.TestCase):
  def test_is_nothing_but_pins_with_hashes(self) -> None:
    self.assertTrue(_PINS_WITH_HASHES.fullmatch(_read('requirements.txt')))
    self.assertIsNone(_PINS_WITH_HASHES.fullmatch('# Made.\n--only-binary :all:\n\nsix==1.0\n'))

  def test_names_no_address(self) -> None:
    self.assertNotRegex(_read('requirements.txt'), r'://|index-url|find-links')

  def test_holds_what_the_project_asks_for(self) -> None:
    pins = dict(_PIN.findall(_read('requirements.txt')))
    project = tomllib.loads(_read('pyproject.toml'))
    direct = [*project['project']['dependencies'], *project['project']['optional-dependencies']['dev']]
    for line in (*direct, *project['tool']['uv']['override-dependencies']):
      name = _NAME.match(line)[0]  # type: ignore[index]
      self.assertIn(name, pins)
      if '==' in line:
        self.assertEqual(f'{name}=={pins[name]}', line)

  @unittest.skipUnless(_RUFF.exists(), 'ruff is not installed beside this Python')
  def test_lint_refuses_assert_and_broad_except_outside_tests(self) -> None:
    text = 'try:\n  assert 1 + 1\nexcept Exception:\n  pass\n'
    for path, expected in (('pipelines/a.py', {'S101', 'BLE001'}), ('tests/a_test.py', {'BLE001'})):
      command = [str(_RUFF), 'check', '--no-cache', '--output-format=json', f'--stdin-filename={path}', '-']
      result = subprocess.run(command, input=text, cwd=layout.ROOT, capture_output=True, text=True, check=False)
      found = {complaint['code'] for complaint in json.loads(result.stdout)}
      self.assertEqual(found & {'S101', 'BLE001'}, expected)


class InstallTest(absltest.TestCase):
  """`pip install --no-deps FOLDER`, into a folder of its own, then used from elsewhere."""

  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    source, self.target = self.folder / 'source', self.folder / 'installed'
    ours = [path for path in layout.find_files() if path.split('/')[0] != 'tests' or path.endswith('layout.py')]
    for path in ours:  # A copy: building leaves files beside the code.
      (source / path).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(layout.ROOT / path, source / path)
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--no-build-isolation']
    subprocess.run([*pip, f'--target={self.target}', str(source)], cwd=self.folder, check=True, timeout=120)

  def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
    elsewhere = self.folder / 'elsewhere'
    (elsewhere / 'export').mkdir(parents=True, exist_ok=True)  # A folder of the user's own, by a name of ours.
    (elsewhere / 'export/__init__.py').write_text('raise ImportError("not ours")')
    return subprocess.run(
      [sys.executable, str(self.target / 'bin/pocketfed'), *arguments],
      cwd=elsewhere,
      capture_output=True,
      text=True,
      env={**os.environ, 'PYTHONPATH': str(self.target)},
      check=False,
    )

  def test_works_from_any_folder(self) -> None:
    version = tomllib.loads(_read('pyproject.toml'))['project']['version']
    self.assertEqual(self._run('--version').stdout, f'pocketfed {version}\n')
    packages = {path.name for path in self.target.iterdir() if path.is_dir() and '.' not in path.name}
    self.assertEqual(packages, {'bin', 'configs', *layout.HOUSE})
    logs, dataset = self.target / 'examples/shakespeare/utterances.jsonl.gz', 'configs/datasets/shakespeare_words.toml'
    done = self._run('preprocess', f'--dataset={self.target / dataset}', f'--input={logs}', '--describe')
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertIn('users', done.stdout)
    for name in ('inspect', 'train', 'export', 'quickstart'):
      done = self._run(name, '-h')
      self.assertEqual((done.returncode, done.stderr), (0, ''))
    templates = [path.name for path in layout.ROOT.rglob('*.j2') if '.venv' not in path.parts]
    self.assertCountEqual([path.name for path in self.target.rglob('*.j2')], templates)


@unittest.skipUnless(shutil.which('make'), 'make is not installed')
class MakeSetupTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    for name in ('Makefile', 'requirements.txt'):
      shutil.copy(layout.ROOT / name, self.folder)

  def _setup(
    self, platform: str = 'Python 3.11 on Linux x86_64', pip_code: int = 0, uv: str = ''
  ) -> subprocess.CompletedProcess[str]:
    python = self.folder / 'python'
    python.write_text(_FAKE_PYTHON.format(platform=platform, pip_code=pip_code))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return self._make(f'PYTHON={python}', f'UV={uv}')

  def _make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {'PATH': os.environ['PATH']}
    return subprocess.run(
      ['make', 'setup', *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
    )

  @parameterized.parameters(
    ('Python 3.9 on Linux x86_64',), ('Python 3.12 on Linux x86_64',), ('Python 3.11 on Darwin arm64',)
  )
  def test_another_python_is_one_line(self, platform: str) -> None:
    result = self._setup(platform)
    self.assertEqual((result.returncode, result.stdout), (2, ''))
    self.assertLen(result.stderr.splitlines(), 1)
    self.assertIn(f'Expected Python 3.11 on Linux x86_64, found {platform}: ', result.stderr)
    self.assertFalse((self.folder / '.venv').exists())

  def test_no_python_is_one_line(self) -> None:
    result = self._make(f'PYTHON={self.folder / "none"}')
    self.assertEqual(result.returncode, 2)
    self.assertLen(result.stderr.splitlines(), 1)
    self.assertIn('found none', result.stderr)

  def test_installs_once(self) -> None:
    self.assertEqual(self._setup().returncode, 0)
    self.assertEqual(self._setup().returncode, 0)
    calls = (self.folder / 'pip.log').read_text().splitlines()
    self.assertLen(calls, 1)
    self.assertIn('--no-deps --require-hashes -r requirements.txt', calls[0])

  def test_shows_that_it_lives(self) -> None:
    started = self._setup()
    self.assertIn('Installing requirements.txt into .venv with pip', started.stdout)
    slow = _FAKE_PYTHON.replace('exit {pip_code}', 'sleep 2; exit {pip_code}')
    with mock.patch.dict(globals(), _FAKE_PYTHON=slow):
      shutil.rmtree(self.folder / '.venv')
      self.assertRegex(self._setup().stdout, r'\n[.]+\n')

  def test_takes_uv_where_it_is(self) -> None:
    uv = self.folder / 'uv'
    uv.write_text(f'#!/bin/sh\necho "$*" >> {self.folder}/uv.log\n')
    uv.chmod(0o755)
    self.assertEqual(self._setup(uv=str(uv)).returncode, 0)
    self.assertFalse((self.folder / 'pip.log').exists())
    self.assertEqual(
      (self.folder / 'uv.log').read_text(),
      'pip install --no-config --python .venv/bin/python --no-deps --require-hashes -r requirements.txt\n',
    )

  def test_pip_takes_over_where_uv_fails(self) -> None:
    uv = self.folder / 'uv'
    uv.write_text('#!/bin/sh\nexit 1\n')
    uv.chmod(0o755)
    self.assertEqual(self._setup(pip_code=1, uv=str(uv)).returncode, 2)
    self.assertEqual(self._setup(uv=str(uv)).returncode, 0)
    self.assertLen((self.folder / 'pip.log').read_text().splitlines(), 2)

  def test_a_failed_set_up_is_done_again(self) -> None:
    self.assertEqual(self._setup(pip_code=1).returncode, 2)
    self.assertEqual(self._setup().returncode, 0)
    self.assertLen((self.folder / 'pip.log').read_text().splitlines(), 2)

  def test_a_changed_list_is_installed(self) -> None:
    self._setup()
    later = (self.folder / '.venv/installed').stat().st_mtime + 10
    os.utime(self.folder / 'requirements.txt', (later, later))
    self._setup()
    self.assertLen((self.folder / 'pip.log').read_text().splitlines(), 2)


if __name__ == '__main__':
  absltest.main()
