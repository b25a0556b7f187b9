"""A Python for programs that tests start, which has TensorFlow loaded: loading it takes longer than most of them do.

A server loads it and nothing else, and forks for each program. Only what a program imports is older than the program:
arguments, folder, environment, streams and the way it ends are its own.
"""

import atexit
import functools
import gc
import json
import os
import pathlib
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from typing import Any

from tests import layout

_SERVER = 'from tests import preloaded; preloaded.serve()'
# Takes the place of `python`, which itself runs what does not load TensorFlow.
_CLIENT = """#!{python} -IS
import json, os, signal, socket, sys

option, program = [*sys.argv[1:3], '', ''][:2]
if option != '-c' and not (option == '-m' and program.startswith('tff_tasks.')):
  os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
  server.connect({address!r})
  request = {{'arguments': sys.argv[1:], 'folder': os.getcwd(), 'environment': dict(os.environ)}}
  socket.send_fds(server, [b'.'], [0, 1, 2])
  server.sendall(json.dumps(request).encode())
  server.shutdown(socket.SHUT_WR)
  code = int(server.recv(16) or 1)
if code < 0:
  signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
  os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def python() -> str:
  """Returns the path of a Python for programs of ours; its server starts now and ends with this process."""
  folder = tempfile.TemporaryDirectory(prefix='pocketfed-python-')
  atexit.register(folder.cleanup)
  client, address = pathlib.Path(folder.name, 'python'), os.path.join(folder.name, 'socket')
  client.write_text(_CLIENT.format(python=sys.executable, address=address))
  client.chmod(0o755)
  with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(address)
    listener.listen(64)
    environment = {name: value for name, value in os.environ.items() if not name.startswith('TF_')}
    server = subprocess.Popen(
      [sys.executable, '-c', _SERVER],
      cwd=layout.ROOT,
      env={**environment, 'PYTHONPATH': str(layout.ROOT)},
      stdin=listener.fileno(),
      stdout=subprocess.PIPE,  # Never written to: that its other end is closed says that this process has ended.
    )
  atexit.register(server.kill)
  return str(client)


def serve() -> None:
  """The server's side: returns in the process of a program once that has ended."""
  listener = socket.socket(fileno=os.dup(0))
  # As programs do it.
  from tff_tasks.runtime import start_up

  gc.disable()
  start_up.start_tensorflow()
  import tff_tasks.training.run  # noqa: F401

  gc.freeze()
  gc.enable()
  # Tests that run in the background ignore it, and what they start inherits that.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)
  ended = select.poll()
  ended.register(listener, select.POLLIN)
  ended.register(1, 0)
  while not any(event & select.POLLERR for _, event in ended.poll()):
    connection, _ = listener.accept()
    with connection:
      if os.fork():
        continue
      listener.close()
      signal.signal(signal.SIGCHLD, signal.SIG_DFL)
      _, streams, *_ = socket.recv_fds(connection, 1, 3)
      with connection.makefile('rb') as file:
        request = json.load(file)
      program = os.fork()
      if program:
        _wait_for(program, streams, connection)
    _become(request, streams)
    return


def _wait_for(program: int, streams: list[int], connection: socket.socket) -> None:
  """Ends this process with the program, which it says the exit code of; ends the program if nobody waits for it."""
  for stream in streams:
    os.close(stream)
  gone = select.poll()
  gone.register(os.pidfd_open(program), select.POLLIN)
  gone.register(connection, 0)
  if any(event & select.POLLHUP for _, event in gone.poll()):
    os.kill(program, signal.SIGKILL)
  code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
  try:
    connection.sendall(str(code).encode())
  finally:
    os._exit(0)


def _become(request: dict[str, Any], streams: list[int]) -> None:
  """Runs the program in this process."""
  for number, stream in enumerate(streams):
    os.dup2(stream, number)
    os.close(stream)
  # Those of the server know what kind of files they had.
  sys.stdin, sys.stdout = open(0, closefd=False), open(1, 'w', closefd=False)  # noqa: SIM115
  sys.stderr = open(2, 'w', buffering=1, errors='backslashreplace', closefd=False)  # noqa: SIM115
  os.chdir(request['folder'])
  os.environ.clear()
  os.environ.update(request['environment'])
  option, program, *arguments = request['arguments']
  sys.path[0] = '' if option == '-c' else request['folder']
  sys.argv = [option, *arguments]
  if option == '-m':
    runpy.run_module(program, run_name='__main__', alter_sys=True)
  else:
    exec(compile(program, '<string>', 'exec'), sys.modules['__main__'].__dict__)
