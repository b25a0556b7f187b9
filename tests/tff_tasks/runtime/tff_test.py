import os
import signal
import subprocess
import sys
import time

from absl.testing import absltest
from absl.testing import parameterized
import psutil

from tests import layout
from tff_tasks.runtime import server

# A program that starts the server, says so, and ends in one of the ways that programs end.
_PROGRAM = """
import sys
import numpy as np
import tensorflow_federated as tff
from pipelines import cli
from tff_tasks.runtime import tff as tff_runtime

@tff.federated_computation
def initialize():
  return tff.federated_value(0, tff.SERVER)

class Process:
  initialize = initialize

def main():
  runtime = tff_runtime.TffRuntime(Process)
  runtime.initialize()
  print('started', runtime.choice, sep='\\n', flush=True)
  sys.stdin.readline()  # Until its children have been looked at.
  ending = sys.argv[-1]
  if ending == 'raise':
    raise RuntimeError('on purpose')
  if ending == 'exit':
    sys.exit(3)
  if ending == 'close':
    runtime.close()
    runtime.close()

sys.argv, arguments = sys.argv[:1], sys.argv
ending = arguments[-1]
def run():
  sys.argv.append(ending)
  main()
cli.run(run)
"""


def _heed_interrupts() -> None:
  """Undoes what the tests inherit if they run in the background."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)


class TffRuntimeTest(parameterized.TestCase):
  @parameterized.named_parameters(
      ('at_its_end', 'end', None, 0),
      ('closed', 'close', None, 0),
      ('exit', 'exit', None, 3),
      ('exception', 'raise', None, 1),
      ('terminated', 'wait', signal.SIGTERM, 128 + signal.SIGTERM),
      ('killed', 'wait', signal.SIGKILL, -signal.SIGKILL),
      ('interrupted', 'wait', signal.SIGINT, 128 + signal.SIGINT),
  )
  def test_leaves_no_server_behind(self, ending: str, sent: signal.Signals | None, code: int) -> None:
    program = subprocess.Popen(
        [sys.executable, '-c', _PROGRAM, ending], cwd=layout.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, 'PYTHONPATH': str(layout.ROOT)},
        preexec_fn=_heed_interrupts,
    )  # fmt: skip
    assert program.stdin is not None
    assert program.stdout is not None
    try:
      self.assertEqual(program.stdout.readline(), 'started\n')
      children = psutil.Process(program.pid).children(recursive=True)
      self.assertEqual([child.name() == 'worker_binary' for child in children], [False, True])  # Its keeper, and it.
      self._check_who_reaches(children[1], program.stdout.readline())
      if sent is None:
        print(file=program.stdin, flush=True)
      else:
        program.send_signal(sent)
      self.assertEqual(program.wait(30), code)
    finally:
      program.kill()
      program.stdin.close()
      program.stdout.close()
    self._wait_for_end(children)

  def _check_who_reaches(self, binary: psutil.Process, said: str) -> None:
    """Either nothing listens on the server's port outside of its own network, or that is said."""
    port = int(next(word for word in binary.cmdline() if word.startswith('--port=')).removeprefix('--port='))
    listening = [each for each in psutil.net_connections('tcp') if each.status == psutil.CONN_LISTEN]
    is_open = any(each.laddr and each.laddr.port == port for each in listening)
    self.assertEqual(said, f'{server.IS_OPEN}\n' if is_open else '\n')

  def _wait_for_end(self, processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 10
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
      self.assertLess(time.monotonic(), deadline, 'a worker_binary or its keeper was left behind')
      time.sleep(0.1)


if __name__ == '__main__':
  absltest.main()
