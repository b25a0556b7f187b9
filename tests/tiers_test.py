"""Tests that the two tiers of tests are what they say."""

import pathlib
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests import layout
from tests import tiers

_FILES = {
  'models/heavy.py': 'import os\nimport tensorflow as tf\n',
  'models/lazy.py': 'def f():\n  import tensorflow as tf\n',
  'models/__init__.py': '',
  'export/guard.py': 'import subprocess\n',
  'tests/helper.py': 'import subprocess\n',
  'tests/heavy_test.py': 'from models import heavy\n',
  'tests/lazy_test.py': 'from models import lazy\n',
  'tests/guard_test.py': 'from export import guard\n',
  'tests/process_test.py': 'from tests import helper\n',
}
# A test of each kind, and the outcomes that pytest should count.
_TESTS = """
import subprocess, sys
import pytest

def test_fast():
  pass

def test_starts_a_process():
  subprocess.run([sys.executable, '-c', ''])

def test_loads_tensorflow():
  import tensorflow

@pytest.mark.slow
def test_slow():
  subprocess.run([sys.executable, '-c', ''])
"""


class TiersTest(parameterized.TestCase):
  def test_what_a_file_imports_makes_its_tests_slow(self) -> None:
    self.assertEqual(tiers.find_slow_files(_FILES), {'tests/heavy_test.py', 'tests/process_test.py'})

  def test_finds_the_tests_of_this_project(self) -> None:
    slow = {path.relative_to(layout.ROOT).as_posix() for path in tiers.slow_files()}
    self.assertContainsSubset({'tests/tiers_test.py', 'tests/tff_tasks/training/run_test.py'}, slow)
    self.assertNoCommonElements({'tests/layout_test.py', 'tests/contracts/schema_test.py'}, slow)

  @parameterized.parameters(
    ('import', 'tensorflow.python', 'found tensorflow.python: mark it'),
    ('subprocess.Popen', 'ls', 'found subprocess.Popen: mark it'),
    ('os.fork', None, 'found os.fork: mark it'),
  )
  def test_a_fast_test_is_refused_what_is_slow(self, event: str, argument: object, message: str) -> None:
    self.assertIn(message, tiers.refusal(event, argument) or '')

  @parameterized.parameters(('import', 'json'), ('open', 'tensorflow'))
  def test_all_else_is_allowed(self, event: str, argument: object) -> None:
    self.assertIsNone(tiers.refusal(event, argument))

  @parameterized.parameters(('not slow', 1, 2), ('slow', 1, 0))
  def test_pytest_runs_one_tier_and_refuses_what_is_of_the_other(self, tier: str, passed: int, failed: int) -> None:
    path = pathlib.Path(self.create_tempdir().full_path, 'some_test.py')
    path.write_text(_TESTS)
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'tests.conftest', '-m', tier]
    options = [f'--rootdir={path.parent}', '-c', str(layout.ROOT / 'pyproject.toml'), str(path)]
    done = subprocess.run([*command, *options], cwd=layout.ROOT, capture_output=True, text=True, check=False)
    self.assertIn(f'{passed} passed', done.stdout)
    errors = [line for line in done.stdout.splitlines() if line.startswith('E ')]
    self.assertLen([line for line in errors if line.endswith('mark it with @pytest.mark.slow.')], failed, done.stdout)
    self.assertEqual(done.returncode, bool(failed), done.stdout)


if __name__ == '__main__':
  absltest.main()
