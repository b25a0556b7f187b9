"""Programs that a test runs beside itself, none of which outlives it."""

from collections.abc import Iterator, Sequence
import contextlib
import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

_SECONDS_TO_END = 20
_SET_PARENT_DEATH_SIGNAL = 1


@contextlib.contextmanager
def running(
  command: Sequence[str], log: pathlib.Path, cwd: pathlib.Path | None = None, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
  """Runs a command in a process group of its own, which ends with the block, or with this process if that is killed."""
  libc = ctypes.CDLL(None)
  with open(log, 'wb') as output:
    process = subprocess.Popen(
      command,
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=output,
      cwd=cwd,
      env={**os.environ, **environment},
      start_new_session=True,
      preexec_fn=lambda: libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM),
    )
  try:
    yield process
  finally:
    _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
  """Ends the process and what it started; until it is waited for, nobody else can get its number."""
  if process.returncode is None:
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS_TO_END
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and time.monotonic() < deadline:
      time.sleep(0.05)
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)
  process.wait()


def find_ports(number: int) -> list[int]:
  """Returns ports that were free on loopback a moment ago.

  None is of those that the system hands out by itself (32768 and more on Linux): another program would soon have it.
  """
  ports: list[int] = []
  while len(ports) < number:
    port = random.randrange(20_000, 30_000)
    with contextlib.suppress(OSError), socket.create_server(('127.0.0.1', port)):
      ports += [port] if port not in ports else []
  return ports
