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


@unittest.skipUnless(shutil.which('make'), 'make is not installed')
class MakeSetupTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    for name in ('Makefile', 'requirements.txt'):
      shutil.copy(layout.ROOT / name, self.folder)

  def _setup(
      self, platform: str = 'Python 3.11 on Linux x86_64', pip_code: int = 0
  ) -> subprocess.CompletedProcess[str]:
    python = self.folder / 'python'
    python.write_text(_FAKE_PYTHON.format(platform=platform, pip_code=pip_code))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return self._make(f'PYTHON={python}')

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
