"""Tests of how a program starts and ends, in small programs of their own."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap

from absl.testing import absltest
from absl.testing import parameterized

_ROOT = str(pathlib.Path(__file__).parents[2])
_PROGRAM = textwrap.dedent("""
    from absl import flags
    from common import cli
    _SIZE = flags.DEFINE_integer('window_length', 1, 'Size.', lower_bound=1)
    def plain():
      print('size', _SIZE.value)
      {body}
    def open_to_others(arguments):
      print('size', _SIZE.value, arguments)
    cli.{start}
""")


def _heed_interrupts() -> None:
  """Undoes what the tests inherit if they run in the background."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)


class CliTest(parameterized.TestCase):
  def _run(
    self, *arguments: str, body: str = '', start: str = 'run(plain)', encoding: str = 'utf-8', **environment: str
  ) -> subprocess.CompletedProcess[str]:
    path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'program.py')
    pathlib.Path(path).write_text(_PROGRAM.format(body=body, start=start))
    return subprocess.run(
      [sys.executable, path, *arguments],
      capture_output=True,
      encoding=encoding,
      check=False,
      env={'PYTHONPATH': _ROOT, **environment},
      preexec_fn=_heed_interrupts,
    )

  def test_a_good_run_ends_with_0(self) -> None:
    done = self._run('--window_length=3')
    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, 'size 3\n', ''))

  @parameterized.parameters(
    ('--window_length=0', 'window_length=0'),
    ('--window_length=x', 'window_length=x'),
    ('--windw_length=3', 'Did you mean: window_length'),
    ('--flagfile=/nowhere.flags', 'nowhere.flags'),
    ('extra', "found 'extra'"),
  )
  def test_a_wrong_flag_is_one_line_and_2(self, argument: str, message: str) -> None:
    self._check_mistake(self._run(argument), message)

  @parameterized.parameters(
    ("raise ValueError('Expected 1,\\nfound 2.')", 'Expected 1, found 2.'), ("open('/nowhere')", "'/nowhere'")
  )
  def test_a_users_mistake_is_one_line_and_2(self, body: str, message: str) -> None:
    self._check_mistake(self._run(body=body.replace('\n', '\\n')), message)

  def test_our_own_mistake_keeps_its_traceback(self) -> None:
    done = self._run(body='1 / 0')
    self.assertEqual(done.returncode, 1)
    self.assertIn('Traceback', done.stderr)

  @parameterized.parameters(
    (signal.SIGTERM, ''), (signal.SIGHUP, ''), (signal.SIGINT, 'Interrupted: type the same command to go on.\n')
  )
  def test_a_signal_ends_the_program_even_if_a_library_wraps_it(self, sent: signal.Signals, message: str) -> None:
    for library in ('pass', 'raise RuntimeError(str(error)) from error'):
      wait = f'try: os.kill(os.getpid(), {sent}); time.sleep(9)\n  except BaseException as error:\n    {library}'
      done = self._run(body=f'import os, time\n  {wait}\n    raise')
      self.assertEqual((done.returncode, done.stderr), (128 + sent, message))

  @parameterized.parameters('ascii', 'latin-1', 'utf-8')
  def test_what_is_printed_reaches_any_terminal(self, encoding: str) -> None:
    body = "print('café → 手機 \\udcff', flush=True)\n  raise ValueError('Expected ≤ 1.')"
    done = self._run(body=body, PYTHONIOENCODING=encoding, encoding=encoding)
    self.assertEqual(done.returncode, 2, done.stderr)
    for text in ('café', '→', '手機', '\udcff'):
      self.assertIn(text.encode(encoding, 'backslashreplace').decode(encoding), done.stdout)
    self.assertEqual(done.stderr, f'error: Expected {"≤".encode(encoding, "backslashreplace").decode(encoding)} 1.\n')

  def test_an_error_shows_what_would_steer_a_terminal(self) -> None:
    done = self._run(body=r"raise ValueError('Expected a class, found \x1b[2J\x9b1m.')")
    self.assertEqual((done.returncode, done.stderr), (2, 'error: Expected a class, found \\x1b[2J\\x9b1m.\n'))

  def test_a_step_leaves_the_word_to_the_program_that_runs_it(self) -> None:
    body = 'import os, signal, time\n  os.kill(os.getpid(), signal.SIGINT)\n  time.sleep(9)'
    for parent, message in ((os.getpid(), ''), (1, 'Interrupted: type the same command to go on.\n')):
      done = self._run(body=body, POCKETFED_PARENT=str(parent))
      self.assertEqual((done.returncode, done.stderr), (130, message))

  @parameterized.parameters('-h', '--help')
  def test_help_names_the_flags(self, flag: str) -> None:
    done = self._run(flag, body="cli.group_flags({'Shape': [_SIZE]})")
    self.assertEqual((done.returncode, done.stderr), (0, ''))
    self.assertIn("--window_length: Size. (default: '1'; a positive integer)", done.stdout)

  def test_help_lists_flags_by_topic_and_marks_what_is_required(self) -> None:
    define = (
      "group_flags({'Shape': [_SIZE]}); flags.DEFINE_string('path', None, 'File of words, one a line.', "
      'required=True); cli.run(plain)\n#'
    )
    done = self._run('-h', start=define)
    self.assertRegex(done.stdout, r'(?s)Shape:\n  --window_length: .*Other:\n  --path: File of words, .*\(required\)')
    done = self._run(start=define)
    self.assertEqual((done.returncode, done.stderr), (2, 'error: Missing --path: file of words. See --help.\n'))

  @parameterized.parameters('print(1)', "print('x' * 100_000)", "sys.exit('x' * 10)", "sys.stderr.write('x' * 100_000)")
  def test_a_reader_that_goes_away_ends_the_program_quietly(self, body: str) -> None:
    path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'program.py')
    ready = 'import sys; sys.stdin.readline()'
    pathlib.Path(path).write_text(_PROGRAM.format(body=f'{ready}; {body}; sys.stdout.flush()', start='run(plain)'))
    output = subprocess.STDOUT if 'stderr' in body else subprocess.PIPE
    with subprocess.Popen(
      [sys.executable, path],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=output,
      env={'PYTHONPATH': _ROOT},
    ) as program:
      assert program.stdin is not None
      assert program.stdout is not None
      program.stdout.close()
      program.stdin.write(b'\n')
      program.stdin.close()
      said = program.stderr.read().decode() if program.stderr else ''
    code = 1 if body.startswith('sys.exit') else 128 + signal.SIGPIPE
    self.assertEqual((program.returncode, said), (code, 'x' * 10 + '\n' if code == 1 else ''))

  def test_a_broken_pipe_of_ours_is_no_reader_that_goes_away(self) -> None:
    self._check_mistake(self._run(body='raise BrokenPipeError(32, "Broken pipe", "/its/name")'), '/its/name')

  @parameterized.parameters(
    ('raise MemoryError', 'MemoryError'),
    ('import numpy; numpy.empty(1 << 55)', 'Unable to allocate'),
    ('import pyarrow; pyarrow.allocate_buffer(1 << 60)', 'malloc'),
    ("raise type('ResourceExhaustedError', (Exception,), {})('OOM when\\nallocating')", 'OOM when)'),
  )
  def test_too_little_memory_is_one_line(self, body: str, message: str) -> None:
    done = self._run(body=body)
    self._check_mistake(done, message)
    self.assertStartsWith(done.stderr, 'error: Expected enough memory, found it used up (')

  def test_foreign_flags_arrive_in_order(self) -> None:
    foreign = ('--workers', '2', '--window_length=3', '--mode=fast')
    done = self._run(*foreign, start='run_with_foreign_flags(open_to_others)')
    self.assertEqual((done.returncode, done.stdout), (0, "size 3 ['--workers', '2', '--mode=fast']\n"))

  def test_a_misspelt_flag_is_not_foreign(self) -> None:
    done = self._run('--windw_length=3', start='run_with_foreign_flags(open_to_others)')
    self._check_mistake(done, 'found --windw_length: did you mean --window_length?')

  @parameterized.parameters('run(plain)', 'run_with_foreign_flags(open_to_others)')
  def test_a_misspelt_flag_is_named_rather_than_the_one_that_is_missing(self, start: str) -> None:
    start = f"group_flags({{}}); flags.DEFINE_string('input', None, 'Files.', required=True); cli.{start}"
    self.assertRegex(self._run('--inptu=x', start=start).stderr, r'^error: .*inptu.*[Dd]id you mean:? (--)?input ?[?]')
    self._check_mistake(
      self._run('--runner=x', '--nowindow', start=start.replace('(plain)', '(print)')),
      'input' if 'foreign' in start else 'runner',
    )

  def _check_mistake(self, done: subprocess.CompletedProcess[str], message: str) -> None:
    self.assertEqual(done.returncode, 2)
    self.assertStartsWith(done.stderr, 'error: ')
    self.assertEqual(done.stderr.count('\n'), 1)
    self.assertIn(message, done.stderr)

  @parameterized.parameters('', 'raise ValueError("Expected it to be there.")')
  def test_large_imports_are_spared_the_garbage_collector(self, mishap: str) -> None:
    program = f"""
      import gc
      from common import cli
      try:
        with cli.large_imports():
          print(gc.isenabled())
          import decimal
          {mishap}
      except ValueError:
        pass
      print(gc.isenabled(), any(thing is decimal.__dict__ for thing in gc.get_objects()))
    """
    command = [sys.executable, '-c', textwrap.dedent(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env={'PYTHONPATH': _ROOT})
    self.assertEqual(result.stdout.split(), ['False', 'True', 'False'])


if __name__ == '__main__':
  absltest.main()
