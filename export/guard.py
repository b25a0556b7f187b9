"""A call in a child process, so that one that crashes, hangs or grows without bound takes nothing down with it.

TFLite's converter is known to do all three on some models, and `try` catches none of them. The child has its own
session, a memory limit and a time limit; it ends with its parent, however the parent ends.
"""

from collections.abc import Callable
import contextlib
import ctypes
import dataclasses
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

_PR_SET_PDEATHSIG = 1
_REASON_LENGTH = 400
_RAISED = re.compile(r'^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)\b', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a guarded call may use.

  Attributes:
    memory_bytes: Private memory. TensorFlow alone needs about 0.3 GB of it, converting a small model 1 GB.
    seconds: Time from the start of the process, the import of TensorFlow included.
  """

  memory_bytes: int = 4 << 30
  seconds: float = 300.0


class Failed(Exception):
  """The guarded call did not return; the message is the reason, one line."""


class Refused(Failed):
  """The guarded call raised `ValueError`, whose message this is: what it was given is at fault, not the call."""


class Call:
  """A call that has started; leaving its context ends it, whatever it is doing.

  The function is found by its module and name in the child, so it must be at the top level of a module. Calls may run
  in parallel: start several, then ask each for its result.
  """

  def __init__(self, limits: Limits, function: Callable[..., Any], *arguments: Any) -> None:
    self._limits = limits
    self._deadline = time.monotonic() + limits.seconds
    # Files, not pipes: a child never waits for a parent that is busy with another child.
    self._result, self._log = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
    with tempfile.TemporaryFile() as request:
      pickle.dump((os.getpid(), limits), request)
      pickle.dump((function, arguments), request)
      request.seek(0)
      self._process = subprocess.Popen(
        [sys.executable, '-c', 'from export import guard; guard.answer()'],
        stdin=request,
        stdout=self._result,
        stderr=self._log,
        env=environment(),
        start_new_session=True,
      )

  def __enter__(self) -> 'Call':
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    self._kill()
    self._result.close()
    self._log.close()

  def result(self) -> Any:
    """Waits for the call and returns what the function returned.

    Raises:
      Refused: If it raised `ValueError`.
      Failed: If it raised another exception, crashed, or ran into a limit.
    """
    try:
      code = self._process.wait(max(0.0, self._deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
      self._kill()
      code = -signal.SIGALRM
    if code:
      raise Failed(self._reason(code))
    self._result.seek(0)
    try:
      value, refusal = pickle.load(self._result)
    except EOFError as error:
      raise Failed('ended without a result') from error
    if refusal is not None:
      raise Refused(_shorten(refusal))
    return value

  def _kill(self) -> None:
    with contextlib.suppress(ProcessLookupError):
      if self._process.poll() is None:
        os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()

  def _reason(self, code: int) -> str:
    self._log.seek(0)
    log = self._log.read().decode(errors='replace')
    if code == -signal.SIGALRM:
      return f'took longer than its limit of {self._limits.seconds:g} s'
    if 'MemoryError' in log or 'bad_alloc' in log:
      return f'needed more memory than its limit of {self._limits.memory_bytes >> 20} MB'
    return describe_end(code, log)


def call(limits: Limits, function: Callable[..., Any], *arguments: Any) -> Any:
  """Starts one guarded call and returns its result; see `Call`."""
  with Call(limits, function, *arguments) as started:
    return started.result()


def describe_end(code: int, log: str) -> str:
  """Returns how a process ended that should not have.

  Args:
    code: Its exit code.
    log: What it wrote to standard error.
  """
  if code < 0:
    return f'crashed with {signal.Signals(-code).name}'
  raised = [match.start() for match in _RAISED.finditer(log)]
  return _shorten(log[raised[-1] :]) if raised else f'ended with exit code {code}'


def end_with_parent(parent: int) -> None:
  """Lets the system end this process when its parent ends, however it ends.

  Args:
    parent: The process id of the parent.
  """
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != parent:
    sys.exit(1)  # The parent went before the line above could tie this process to it.


def answer() -> None:
  """The child's side: takes the limits upon itself, then does what was asked."""
  parent, limits = pickle.load(sys.stdin.buffer)
  end_with_parent(parent)
  # Data, not address space: on a machine of many cores the latter fills up with stacks and arenas nobody touches.
  resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  # The default action ends the process even while native code holds the interpreter.
  signal.setitimer(signal.ITIMER_REAL, limits.seconds)
  with os.fdopen(os.dup(sys.stdout.fileno()), 'wb') as result:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print is log, not result.
    function, arguments = pickle.load(sys.stdin.buffer)
    outcome: tuple[Any, str | None]
    try:
      outcome = function(*arguments), None
    except ValueError as error:
      outcome = None, str(error)
    pickle.dump(outcome, result)


def _shorten(message: str) -> str:
  line = ' '.join(message.split())
  return line if len(line) <= _REASON_LENGTH else line[: _REASON_LENGTH - 1] + '…'


def environment() -> dict[str, str]:
  """Returns that of a child: the parent's module path, no GPU and no thread pool, which cost memory."""
  path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
  threads = dict.fromkeys(('OMP_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'), '1')
  # Safe path: no folder where the child happens to start takes the place of one of ours.
  paths = {'PYTHONPATH': path, 'PYTHONSAFEPATH': '1'}
  return {**os.environ, **threads, **paths, 'CUDA_VISIBLE_DEVICES': '-1', 'TF_CPP_MIN_LOG_LEVEL': '3'}
