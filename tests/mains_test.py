"""Every program answers `--help` and a wrong flag at once: before TensorFlow, TFF or Beam is loaded."""

import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests import layout

# Loading any of these takes seconds.
_HEAVY = {'apache_beam', 'keras', 'matplotlib', 'tensorflow', 'tensorflow_federated'}
_PROGRAMS = [source.module for source in layout.read_sources() if source.is_main and source.folder in layout.HOUSE]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
  command = [sys.executable, '-X', 'importtime', *arguments]
  return subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, timeout=60, check=False)


def _split_log(log: str) -> tuple[set[str], list[str]]:
  """Returns what was imported, and the lines that the program itself wrote on standard error."""
  lines = log.splitlines()
  imports = {line.rpartition('|')[2].strip() for line in lines if line.startswith('import time:')}
  return imports, [line for line in lines if not line.startswith('import time:')]


class MainsTest(parameterized.TestCase):
  def test_finds_the_programs(self) -> None:
    self.assertContainsSubset(['pipelines.preprocess', 'tff_tasks.train', 'export.to_tflite'], _PROGRAMS)

  def test_sees_what_is_imported(self) -> None:
    imports, _ = _split_log(_run('-c', 'import json.decoder').stderr)
    self.assertContainsSubset({'json', 'json.decoder'}, imports)

  @parameterized.parameters(_PROGRAMS)
  def test_help_is_light(self, program: str) -> None:
    result = _run('-m', program, '--help')
    imports, _ = _split_log(result.stderr)
    self.assertRegex(result.stdout, '--output|--run_dir|--model_dir')  # All have one of them.
    self.assertIn('absl.flags', imports)
    self.assertEmpty(imports & _HEAVY)

  @parameterized.parameters('pipelines.preprocess', 'tff_tasks.train')
  def test_help_groups_the_flags(self, program: str) -> None:
    lines = _run('-m', program, '-h').stdout.splitlines()
    topics = [place for place, line in enumerate(lines) if line.endswith(':') and not line.startswith(' ')]
    self.assertGreater(len(topics), 3)
    self.assertNotIn('Other:', lines)  # Where flags stand that have no topic.
    for place in topics:
      self.assertStartsWith(lines[place + 1], '  --')
    self.assertLessEqual(max(map(len, lines[topics[0] :])), 80)

  @parameterized.parameters(_PROGRAMS)
  def test_a_wrong_flag_is_one_line(self, program: str) -> None:
    result = _run('-m', program, '--output_dirs=x')
    imports, lines = _split_log(result.stderr)
    self.assertEqual(result.returncode, 2)
    self.assertLen(lines, 1, lines)
    self.assertStartsWith(lines[0], 'error: ')
    self.assertEmpty(imports & _HEAVY)


if __name__ == '__main__':
  absltest.main()
