"""Ends TFF's server when the program that started it is gone, however it ended: a process of its own waits for that.

The kernel's own way (PR_SET_PDEATHSIG) is about the thread that started a process, and TFF starts its server from any.
"""

import contextlib
import os
import pathlib
import select
import signal
import subprocess
import sys

import psutil

SERVER = 'worker_binary'
_SECONDS_BETWEEN_LOOKS = 0.2
_ROOT = str(pathlib.Path(__file__).parents[2])
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from tff_tasks.runtime import watchdog
watchdog.watch(int(sys.argv[2]))
"""


def start() -> 'subprocess.Popen[bytes]':
  """Starts a process that ends the servers of this one when it ends, or when its standard input is closed."""
  # In a session of its own: what a terminal sends to all processes is not for it.
  return subprocess.Popen(
      [sys.executable, '-c', _PROGRAM, _ROOT, str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL, start_new_session=True,
  )  # fmt: skip


def watch(parent: int) -> None:
  """Waits for the end of standard input, which is that of the parent, and ends the servers that it had started."""
  servers: dict[int, int] = {}
  while not select.select([sys.stdin], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
      for child in psutil.Process(parent).children():
        if child.name() == SERVER and child.pid not in servers:
          servers[child.pid] = os.pidfd_open(child.pid)
  for server in servers.values():
    with contextlib.suppress(ProcessLookupError):
      signal.pidfd_send_signal(server, signal.SIGKILL)
