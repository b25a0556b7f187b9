"""The programs on a real terminal: what a person sees who presses Ctrl-C or closes the window."""

import json
import os
import pathlib
import pty
import select
import signal
import sys
import time

from absl.testing import absltest
import psutil

from tests import layout
from tests.export import fakes
from tests.tff_tasks import fakes as training_fakes

_SAYS = b'Interrupted: type the same command to go on.'
_TOML = """
[client]
id = "user"
order = "time"
public_ids = true
[examples]
kind = "characters"
column = "text"
window_length = 8
"""
# Of rounds that take no time, and that no figures are worked out for.
_TRAINING = (
  '--total_rounds=50000',
  '--clients_per_round=2',
  '--client_learning_rate=0.1',
  '--client_batch_size=4',
  '--max_examples_per_client=4',
  '--server_learning_rate=0.01',
  '--clip_norm=1',
  '--noise_multiplier=0',
  '--rounds_per_eval=1000',
  '--rounds_per_checkpoint=1000',
  '--model_size=4',
  '--xla=no',
)
# A reader of logs that never ends, as a large input is: what is sent arrives while the job is at work.
_SLOW = """
import pathlib, runpy, sys, time
from pipelines.declarations import parsing
read = parsing.read_block
def read_slowly(*arguments):
  pathlib.Path({started!r}).touch()
  time.sleep(2)
  return read(*arguments)
parsing.read_block = read_slowly
sys.argv[0] = 'pipelines.preprocess'
runpy.run_module('pipelines.preprocess', run_name='__main__', alter_sys=True)
"""


class TerminalTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    rows = [{'user': f'u{row % 9}', 'time': row, 'text': 'hello there'} for row in range(81)]
    (self.folder / 'logs.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    (self.folder / 'd.toml').write_text(_TOML)

  def _start(self, command: list[str]) -> tuple[int, int]:
    """Starts a program on a terminal of its own; returns its process id and the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
      os.chdir(layout.ROOT)
      for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
      os.execve(command[0], command, {**os.environ, 'TERM': 'xterm', 'PYTHONPATH': str(layout.ROOT)})
    self.addCleanup(os.close, terminal)
    return pid, terminal

  def _read(self, terminal: int, until: bytes = b'', seconds: float = 60) -> bytes:
    """Returns what appears until a text does, or until the program has ended."""
    seen, deadline = b'', time.monotonic() + seconds
    while not (until and until in seen) and time.monotonic() < deadline:
      if select.select([terminal], [], [], 0.1)[0]:
        try:
          seen += os.read(terminal, 1 << 16)
        except OSError:  # Its other end is closed.
          break
    return seen

  def _preprocess(self) -> list[str]:
    code = _SLOW.format(started=str(self.folder / 'started'))
    flags = {'dataset': 'd.toml', 'input': 'logs.jsonl', 'output_dir': 'shards'}
    return [sys.executable, '-c', code, *(f'--{name}={self.folder}/{value}' for name, value in flags.items())]

  def _wait_for_work(self) -> None:
    deadline = time.monotonic() + 60
    while not (self.folder / 'started').exists():
      self.assertLess(time.monotonic(), deadline)
      time.sleep(0.02)

  def test_ctrl_c_leaves_one_line_and_no_rows(self) -> None:
    pid, terminal = self._start(self._preprocess())
    self._wait_for_work()
    os.write(terminal, b'\x03')
    after = self._read(terminal).split(b'^C')[-1].replace(b'\r\x1b[K', b'')
    self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 128 + signal.SIGINT)
    self.assertEqual(after.strip(), _SAYS)
    self.assertEmpty([path for path in (self.folder / 'shards').rglob('*') if path.is_file()])

  def test_a_lost_connection_leaves_no_rows(self) -> None:
    pid, terminal = self._start(self._preprocess())
    self._read(terminal, until=b'Preprocessing')
    self._wait_for_work()
    os.kill(pid, signal.SIGHUP)
    self._read(terminal)
    self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 128 + signal.SIGHUP)
    self.assertEmpty([path for path in (self.folder / 'shards').rglob('*') if path.is_file()])

  def test_ctrl_c_in_the_quickstart_ends_its_steps_with_one_line(self) -> None:
    pid, terminal = self._start([sys.executable, '-m', 'examples.quickstart', f'--output_dir={self.folder}/q'])
    seen = self._read(terminal, until=b'--output_dir=')
    self.assertIn(b'1/3', seen)
    children: list[psutil.Process] = []
    while not children:
      children = psutil.Process(pid).children()
    self._read(terminal, until=b'Preprocessing')
    os.write(terminal, b'\x03')
    after = self._read(terminal).split(b'^C')[-1].replace(b'\r\x1b[K', b'')
    self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 128 + signal.SIGINT)
    self.assertEqual(after.strip(), _SAYS)
    self.assertFalse(any(child.is_running() for child in children))

  def _interrupt(self, pid: int, terminal: int) -> list[psutil.Process]:
    """Types Ctrl-C, checks what is seen after it, and returns the processes that the program had started."""
    children = psutil.Process(pid).children(recursive=True)
    os.write(terminal, b'\x03')
    after = self._read(terminal).split(b'^C')[-1].replace(b'\r\x1b[K', b'')
    self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 128 + signal.SIGINT)
    self.assertEqual(after.strip(), _SAYS)
    _, alive = psutil.wait_procs(children, timeout=10)
    self.assertEmpty(alive)
    return children

  def test_ctrl_c_in_a_conversion_leaves_one_line_and_no_child(self) -> None:
    shards = fakes.write_shards(str(self.folder / 'shards'))
    run_dir = fakes.write_figures(str(self.folder / 'run'), shards)
    fakes.release(run_dir)
    flags = [f'--run_dir={run_dir}', f'--output_dir={self.folder}/model']
    pid, terminal = self._start([sys.executable, '-m', 'export.to_tflite', *flags])
    program = psutil.Process(pid)
    deadline = time.monotonic() + 60
    while len(program.children()) < 3 and time.monotonic() < deadline:
      time.sleep(0.05)
    time.sleep(2)  # Until they convert: what a library says then is its own.
    self.assertLen(self._interrupt(pid, terminal), 3)
    self.assertEmpty(os.listdir(self.folder / 'model'))

  def test_ctrl_c_in_a_round_leaves_one_line_and_a_run_that_goes_on(self) -> None:
    training_fakes.write_shards(str(self.folder / 'shards'))
    folders = [f'--shards_dir={self.folder}/shards', f'--output_dir={self.folder}/run']
    command = [sys.executable, '-m', 'tff_tasks.train', *folders, *_TRAINING]
    pid, terminal = self._start(command)
    self._read(terminal, until=b' 2/50000 [', seconds=180)
    self._interrupt(pid, terminal)
    pid, terminal = self._start(command)
    seen = self._read(terminal, until=b' 2/50000 [', seconds=180)
    self.assertIn(b'Resuming after round 0', seen)
    self._interrupt(pid, terminal)


if __name__ == '__main__':
  absltest.main()
