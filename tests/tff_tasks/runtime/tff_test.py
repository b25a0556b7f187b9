import os
import signal
import subprocess
import sys
import time

from absl.testing import absltest
from absl.testing import parameterized
import psutil

from tests import layout

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
  print('started', flush=True)
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
      servers = [child for child in psutil.Process(program.pid).children() if child.name() == 'worker_binary']
      self.assertLen(servers, 1)
      if sent is None:
        print(file=program.stdin, flush=True)
      else:
        program.send_signal(sent)
      self.assertEqual(program.wait(30), code)
    finally:
      program.kill()
      program.stdin.close()
      program.stdout.close()
    self._wait_for_end(servers)

  def _wait_for_end(self, servers: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 10
    while any(server.is_running() and server.status() != psutil.STATUS_ZOMBIE for server in servers):
      self.assertLess(time.monotonic(), deadline, 'a worker_binary was left behind')
      time.sleep(0.1)


if __name__ == '__main__':
  absltest.main()
