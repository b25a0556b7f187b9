"""Tests of the command that runs the programs."""

import importlib.util
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from common import command
from tests import layout

_COMMAND = [sys.executable, '-c', 'from common import command; command.main()']


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run([*_COMMAND, *arguments], cwd=layout.ROOT, capture_output=True, text=True, check=False)


class CommandTest(parameterized.TestCase):
  @parameterized.parameters(*command.PROGRAMS.values())
  def test_programs_are_there(self, module: str, what: str) -> None:
    del what
    self.assertIsNotNone(importlib.util.find_spec(module))

  @parameterized.parameters((), ('--help',), ('-h',))
  def test_lists_the_programs(self, *arguments: str) -> None:
    done = _run(*arguments)
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    for name in command.PROGRAMS:
      self.assertIn(f'\n  {name} ', done.stdout)

  @parameterized.parameters(
    ('trian', "found 'trian': did you mean train?"),
    ('x', "found 'x': choose among preprocess, inspect, train"),
    ('--input=x', "found '--input=x': choose among"),
  )
  def test_an_unknown_program_is_one_line(self, name: str, message: str) -> None:
    done = _run(name)
    self.assertEqual((done.returncode, done.stdout, done.stderr.count('\n')), (2, '', 1))
    self.assertIn(f'error: Expected the name of a program, {message}', done.stderr)

  def test_a_program_is_the_same_as_by_its_module(self) -> None:
    for flags in (['-h'], ['--shard=x'], [], ['--shards=nowhere']):
      python = [sys.executable, '-m', 'pipelines.inspect', *flags]
      by_module = subprocess.run(python, cwd=layout.ROOT, capture_output=True, text=True, check=False)
      done = _run('inspect', *flags)
      self.assertEqual(
        (done.returncode, done.stdout, done.stderr), (by_module.returncode, by_module.stdout, by_module.stderr)
      )


if __name__ == '__main__':
  absltest.main()
