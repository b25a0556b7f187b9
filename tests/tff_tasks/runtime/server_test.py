"""Tests who reaches a server, and that it ends with the program that started it; tff_test.py has TFF's own server."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import psutil

from tests import layout
from tff_tasks.runtime import server

# Listens as TFF's server does, and returns what it is sent, a connection after another.
_ECHO = f"""\
#!{sys.executable}
import socket, sys
listener = socket.create_server(('', int(sys.argv[1].removeprefix('--port='))))
while True:
  with listener.accept()[0] as connection:
    while part := connection.recv(1 << 16):
      connection.sendall(part)
"""
# Starts a server, says where, and waits.
_PROGRAM = """
import sys
from tff_tasks.runtime import server
started = server.Server(sys.argv[1])
print(started.target, flush=True)
sys.stdin.readline()
"""
# As where the system permits no network namespaces.
_FORBIDDEN = 'server._can_enter_network = lambda: False\nserver.keep('
_BYTES = os.urandom(5_000_000)


def _descendants(pid: int | None = None) -> list[psutil.Process]:
  return psutil.Process(pid).children(recursive=True)


def _are_gone(processes: list[psutil.Process]) -> bool:
  deadline = time.monotonic() + 30
  while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
    if time.monotonic() > deadline:
      return False
    time.sleep(0.05)
  return True


def _listening_ports() -> list[int]:
  listening = (each for each in psutil.net_connections('tcp') if each.status == psutil.CONN_LISTEN)
  return [each.laddr.port for each in listening if each.laddr]


def _connect(target: str) -> socket.socket:
  if target.startswith('unix:'):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(target.removeprefix('unix:'))
    return connection
  host, port = target.split(':')
  return socket.create_connection((host, int(port)))


class ServerTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._binary = self.create_tempfile('echo', _ECHO).full_path
    os.chmod(self._binary, 0o700)

  def _start(self, is_permitted: bool = True) -> server.Server:
    program = server._PROGRAM if is_permitted else server._PROGRAM.replace('server.keep(', _FORBIDDEN)
    with mock.patch.object(server, '_PROGRAM', program):
      started = server.Server(self._binary)
    self.addCleanup(started.close)
    if is_permitted and not started.is_private:
      self.skipTest('this system permits no network namespace')
    return started

  @parameterized.parameters(True, False)
  def test_passes_all_bytes_on_both_ways(self, is_permitted: bool) -> None:
    started = self._start(is_permitted)
    self.assertEqual(started.is_private, is_permitted)
    for _ in range(2):
      with _connect(started.target) as connection:
        returned = bytearray()
        for begin in range(0, len(_BYTES), 500_000):
          connection.sendall(_BYTES[begin : begin + 500_000])
          returned += connection.recv(500_000, socket.MSG_WAITALL)
        self.assertEqual(returned, _BYTES)

  def test_no_other_user_and_no_other_machine_reaches_it(self) -> None:
    started = self._start()
    folder = os.path.dirname(started.target.removeprefix('unix:'))
    self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
    (echo,) = (child for child in _descendants() if 'echo' in ' '.join(child.cmdline()) and not _descendants(child.pid))
    self.assertNotEqual(os.readlink(f'/proc/{echo.pid}/ns/net'), os.readlink('/proc/self/ns/net'))
    port = int(echo.cmdline()[-1].removeprefix('--port='))
    self.assertNotIn(port, _listening_ports())

  def test_the_other_way_is_seen_from_outside(self) -> None:
    started = self._start(is_permitted=False)
    self.assertIn(int(started.target.split(':')[1]), _listening_ports())

  def test_ends_when_it_is_closed(self) -> None:
    started = self._start()
    path, processes = started.target.removeprefix('unix:'), _descendants()
    self.assertTrue(started.is_alive)
    started.close()
    started.close()
    self.assertFalse(started.is_alive)
    self.assertTrue(_are_gone(processes))
    self.assertFalse(os.path.exists(os.path.dirname(path)))

  @parameterized.parameters(0, 1)
  def test_neither_outlives_the_other(self, killed: int) -> None:
    started = self._start()
    processes = _descendants()  # The keeper, and the server.
    self.assertLen(processes, 2)
    processes[killed].kill()
    self.assertTrue(_are_gone(processes))
    self.assertFalse(started.is_alive)
    started.close()
    self.assertFalse(os.path.exists(os.path.dirname(started.target.removeprefix('unix:'))))

  def test_a_killed_program_leaves_neither(self) -> None:
    program = subprocess.Popen(
      [sys.executable, '-c', textwrap.dedent(_PROGRAM), self._binary],
      cwd=layout.ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={**os.environ, 'PYTHONPATH': str(layout.ROOT)},
    )
    self.addCleanup(program.communicate)
    self.addCleanup(program.kill)
    assert program.stdout is not None
    target = program.stdout.readline().strip()
    processes = _descendants(program.pid)
    self.assertLen(processes, 2)
    program.send_signal(signal.SIGKILL)
    self.assertTrue(_are_gone(processes))
    if target.startswith('unix:'):
      self.assertFalse(os.path.exists(target.removeprefix('unix:')))

  def test_a_long_temporary_folder_is_no_obstacle(self) -> None:
    folder = self.create_tempdir('long' * 20).full_path
    with mock.patch.object(server.tempfile, 'gettempdir', return_value=folder):
      self.assertTrue(self._start().is_alive)

  def test_a_server_that_does_not_start_is_told(self) -> None:
    self._binary = '/bin/false'
    with self.assertRaisesRegex(ValueError, "^Expected TFF's server to start, found that it ended: "):
      self._start()
    self.assertEmpty(_descendants())


if __name__ == '__main__':
  absltest.main()
