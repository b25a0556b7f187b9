"""Tests that a server ends with the program that started it; tff_test.py has TFF's own server."""

import os
import shutil
import subprocess
import sys
import time

from absl.testing import absltest
import psutil

from tests import layout
from tff_tasks.runtime import watchdog

# Starts a watchdog and a server that sleeps, says so, and waits.
_PROGRAM = """
import subprocess, sys, time
from tff_tasks.runtime import watchdog
guard = watchdog.start()
server = subprocess.Popen([sys.argv[1], '600'])
print(server.pid, guard.pid, flush=True)
sys.stdin.readline()
guard.stdin.close()
guard.wait()
print(server.wait(), flush=True)
"""


def _wait_until_gone(pid: int) -> bool:
  deadline = time.monotonic() + 30
  while time.monotonic() < deadline:
    if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
      return True
    time.sleep(0.05)
  return False


class WatchdogTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    server = os.path.join(self.create_tempdir().full_path, watchdog.SERVER)
    shutil.copy(shutil.which('sleep') or '', server)
    self._program = subprocess.Popen(
        [sys.executable, '-c', _PROGRAM, server], cwd=layout.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, env={**os.environ, 'PYTHONPATH': str(layout.ROOT)},
    )  # fmt: skip
    assert self._program.stdin is not None
    assert self._program.stdout is not None
    self._stdin, self._stdout = self._program.stdin, self._program.stdout
    self.addCleanup(self._stdout.close)
    self.addCleanup(self._program.wait)
    self.addCleanup(self._program.kill)
    self._server, self._guard = map(int, self._stdout.readline().split())
    time.sleep(3)  # The watchdog has started, and looked.

  def test_a_killed_program_leaves_no_server(self) -> None:
    self.assertTrue(psutil.pid_exists(self._server))
    self._program.kill()
    self.assertTrue(_wait_until_gone(self._server))
    self.assertTrue(_wait_until_gone(self._guard))
    self._stdin.close()

  def test_ends_when_it_is_let_go(self) -> None:
    self._stdin.write('\n')
    self._stdin.close()
    self.assertEqual(self._stdout.readline(), '-9\n')


if __name__ == '__main__':
  absltest.main()
