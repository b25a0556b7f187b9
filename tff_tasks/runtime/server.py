"""TFF's server, started and ended by a process of its own: the keeper.

The server listens on all interfaces without authentication, and has no option for it. So where the system permits it,
the keeper enters a network namespace of its own, which only the server shares, and forwards what comes through a Unix
socket in a folder that only this user can open. The server ends with the keeper, and the keeper when its standard input
does, which is when the program that started it is gone, however it ended.
"""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

IS_OPEN = (
  "TFF's server listens on all interfaces without authentication, since this system permits no network namespace: "
  'use --runtime=tff on a machine whose ports are closed to others.'
)
_ROOT = str(pathlib.Path(__file__).parents[2])
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tff_tasks.runtime import server
server.keep(*sys.argv[2:])
"""
_LONGEST_FOLDER = 60  # A socket's path has at most 107 bytes.
_SECONDS_BETWEEN_LOOKS = 0.02
_BUFFER_BYTES = 1 << 20
# From Linux's sched.h, sys/prctl.h, net/if.h and sys/ioctl.h.
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_IFF_UP, _SIOCSIFFLAGS = 1, 0x8914


class Server:
  """A running server.

  Args:
    binary: The program, which takes `--port`.

  Attributes:
    target: Where gRPC reaches it.
    is_private: Whether only this user reaches it; otherwise it listens on all interfaces.

  Raises:
    ValueError: If it does not start.
  """

  def __init__(self, binary: str) -> None:
    parent = tempfile.gettempdir()
    parent = parent if len(os.fsencode(parent)) <= _LONGEST_FOLDER else '/tmp'
    # Made with mode 0700, which is what protects the socket.
    self._folder = tempfile.mkdtemp(prefix='tff-', dir=parent)
    # In a session of its own: what a terminal sends to all processes is not for it.
    self._keeper = subprocess.Popen(
      [sys.executable, '-c', _PROGRAM, _ROOT, self._folder, binary],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      start_new_session=True,
    )
    stdout = self._keeper.stdout
    self.target = stdout.readline().decode().strip() if stdout else ''
    self.is_private = self.target.startswith('unix:')
    if not self.target:
      self.close()
      raise ValueError(
        "Expected TFF's server to start, found that it ended: see its lines above, or use --runtime=local in a new "
        '--output_dir.'
      )

  @property
  def is_alive(self) -> bool:
    return self._keeper.poll() is None

  def close(self) -> None:
    """Ends the server, once or more often."""
    for pipe in filter(None, (self._keeper.stdin, self._keeper.stdout)):
      pipe.close()
    self._keeper.wait()
    shutil.rmtree(self._folder, ignore_errors=True)  # The keeper has done it, unless it was killed.


def keep(folder: str, binary: str) -> None:
  """Runs a server until standard input ends, or the server; writes where it is reached to standard output.

  Args:
    folder: For the socket; removed in the end.
    binary: The server.
  """
  try:
    is_private = _can_enter_network()
    if is_private:
      _enter_network()
    port = _find_port()
    server = subprocess.Popen(
      [binary, f'--port={port}'], stdin=subprocess.DEVNULL, stdout=sys.stderr, preexec_fn=_end_with_parent
    )
    try:
      if _wait_until_it_listens(server, port):
        _watch(server, port, os.path.join(folder, 'socket') if is_private else None)
    finally:
      server.kill()
      server.wait()
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def _can_enter_network() -> bool:
  """Tries it in a process that ends: one whose loopback interface stays down has lost its network."""
  child = os.fork()
  if child:
    return os.waitpid(child, 0)[1] == 0
  try:
    _enter_network()
  except OSError:
    os._exit(1)
  os._exit(0)


def _enter_network() -> None:
  """Enters a network namespace that has nothing but a loopback interface."""
  libc = ctypes.CDLL(None, use_errno=True)
  # The first is for root, the second for others where user namespaces are permitted.
  if libc.unshare(_CLONE_NEWNET) and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
    raise OSError(ctypes.get_errno(), 'unshare')
  with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack('16sH22x', b'lo', _IFF_UP))


def _find_port() -> int:
  with socket.socket() as any_socket:
    any_socket.bind(('', 0))
    return int(any_socket.getsockname()[1])


def _end_with_parent() -> None:
  """The kernel ends the server if the keeper is killed; it looks at the keeper's thread, which here is its only one."""
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_it_listens(server: 'subprocess.Popen[bytes]', port: int) -> bool:
  while server.poll() is None and not select.select([sys.stdin], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
    with socket.socket() as client:
      if client.connect_ex(('127.0.0.1', port)) == 0:
        return True
  return False


def _watch(server: 'subprocess.Popen[bytes]', port: int, path: str | None) -> None:
  """Waits for the end of standard input or of the server; forwards what comes through a socket, if it has a path."""
  ends = [sys.stdin, os.pidfd_open(server.pid)]
  if not path:
    print(f'127.0.0.1:{port}', flush=True)
    select.select(ends, [], [])
    return
  listener = socket.socket(socket.AF_UNIX)
  listener.bind(path)
  listener.listen()
  print(f'unix:{path}', flush=True)
  while select.select([*ends, listener], [], [])[0] == [listener]:
    client = listener.accept()[0]
    try:
      inside = socket.create_connection(('127.0.0.1', port))
    except ConnectionRefusedError:
      return  # The server has just ended.
    inside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for source, sink in ((client, inside), (inside, client)):
      threading.Thread(target=_forward, args=(source, sink), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket) -> None:
  """Passes bytes on until either side is gone, and then ends both directions."""
  buffer = memoryview(bytearray(_BUFFER_BYTES))
  with contextlib.suppress(OSError):
    while count := source.recv_into(buffer):
      sink.sendall(buffer[:count])
  for end in (source, sink):
    with contextlib.suppress(OSError):
      end.shutdown(socket.SHUT_RDWR)
