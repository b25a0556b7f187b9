import json
import os
import pathlib
import subprocess
import sys
import time

from absl.testing import absltest
from absl.testing import parameterized

from tests import layout
from tests import preloaded

_SEEN = """
import json, os, sys
text = sys.stdin.read()
print('said', file=sys.stderr)
print(json.dumps([sys.argv, os.getcwd(), os.environ['MINE'], 'PATH' in os.environ, text, 'tensorflow' in sys.modules]))
"""
_HANGS = """
import os, time
print(os.getpid(), flush=True)
time.sleep(300)
"""


def _run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
  return subprocess.run(  # type: ignore[call-overload]
    [preloaded.python(), *arguments], capture_output=True, text=True, timeout=300, check=False, **options
  )


class PreloadedTest(parameterized.TestCase):
  @parameterized.parameters(
    ('pass', 0, ''),
    ('import sys; sys.exit(3)', 3, ''),
    ('import sys; sys.exit("one line")', 1, 'one line\n'),
    ('import os; os._exit(4)', 4, ''),
    ('import os; os.kill(os.getpid(), 9)', -9, ''),
    ('import os, signal; signal.signal(15, signal.SIG_DFL); os.kill(os.getpid(), 15)', -15, ''),
  )
  def test_a_program_ends_as_it_does(self, program: str, code: int, errors: str) -> None:
    done = _run('-c', program)
    self.assertEqual((done.returncode, done.stdout, done.stderr), (code, '', errors))

  def test_an_error_keeps_its_traceback(self) -> None:
    done = _run('-c', 'raise KeyError("on purpose")')
    self.assertEqual(done.returncode, 1)
    self.assertEndsWith(done.stderr, "KeyError: 'on purpose'\n")

  def test_all_but_what_is_loaded_is_its_own(self) -> None:
    folder = os.path.realpath(self.create_tempdir().full_path)
    done = _run('-c', _SEEN, 'one', '--two', cwd=folder, env={'MINE': 'yes'}, input='typed')
    self.assertEqual(json.loads(done.stdout), [['-c', 'one', '--two'], folder, 'yes', False, 'typed', True])
    self.assertEqual(done.stderr, 'said\n')

  def test_programs_do_not_see_each_other(self) -> None:
    for _ in range(2):
      done = _run('-c', 'import json; print(hasattr(json, "mine")); json.mine = True')
      self.assertEqual(done.stdout, 'False\n')

  def test_a_module_is_the_program(self) -> None:
    command = ['-m', 'tff_tasks.evaluate', '--help']
    real = subprocess.run([sys.executable, *command], cwd=layout.ROOT, capture_output=True, text=True, check=True)
    # TensorFlow has flags, too.
    self.assertContainsSubset(real.stdout.splitlines(), _run(*command, cwd=layout.ROOT).stdout.splitlines())

  def test_a_program_that_nobody_waits_for_is_ended(self) -> None:
    with subprocess.Popen([preloaded.python(), '-c', _HANGS], stdout=subprocess.PIPE, text=True) as client:
      assert client.stdout
      program = pathlib.Path(f'/proc/{int(client.stdout.readline())}')
      self.assertTrue(program.exists())
      client.kill()
    deadline = time.monotonic() + 30
    while program.exists() and time.monotonic() < deadline:
      time.sleep(0.02)
    self.assertFalse(program.exists())

  def test_the_real_one_runs_what_does_not_load_tensorflow(self) -> None:
    self.assertEqual(_run('--version').stdout, f'Python {sys.version.split()[0]}\n')
    self.assertIn('--shards', _run('-m', 'pipelines.inspect', '--help', cwd=layout.ROOT).stdout)


if __name__ == '__main__':
  absltest.main()
