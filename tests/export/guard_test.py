"""Tests that a guarded call takes nobody down with it, however it ends."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from export import guard

_QUICK = guard.Limits(memory_bytes=1 << 30, seconds=20.0)


def _add(first: int, second: int) -> int:
  print('this must not end up in the result')
  return first + second


def _meet(own: str, other: str) -> bool:
  pathlib.Path(own).touch()
  while not os.path.exists(other):
    time.sleep(0.01)
  return True


def _pid() -> int:
  return os.getpid()


def _sleep(seconds: float) -> None:
  time.sleep(seconds)


def _sleep_beside(path: str) -> None:
  pathlib.Path(path).write_text(str(os.getpid()))
  time.sleep(60)


def _allocate(count: int) -> int:
  return len(np.ones(count, np.uint8))


def _signal(number: int) -> None:
  os.kill(os.getpid(), number)


def _raise() -> None:
  raise KeyError('an unexpected key')


def _refuse() -> None:
  raise ValueError('Expected this,\nfound that.')


def _leave() -> None:
  os._exit(0)


def _wait_until_gone(pid: int) -> bool:
  for _ in range(100):
    try:
      # A killed process whose parent has not asked for it yet is gone as well.
      if pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z':
        return True
    except (FileNotFoundError, ProcessLookupError):
      return True
    time.sleep(0.05)
  return False


class GuardTest(parameterized.TestCase):
  def test_returns_the_result(self) -> None:
    self.assertEqual(guard.call(_QUICK, _add, 40, 2), 42)

  def test_runs_in_another_process_and_session(self) -> None:
    self.assertNotEqual(guard.call(_QUICK, _pid), os.getpid())
    self.assertNotEqual(guard.call(_QUICK, os.getsid, 0), os.getsid(0))

  def test_calls_run_side_by_side(self) -> None:
    limits = guard.Limits(seconds=30.0)
    with tempfile.TemporaryDirectory() as folder:
      paths = [os.path.join(folder, name) for name in ('first', 'second')]
      with guard.Call(limits, _meet, *paths) as first, guard.Call(limits, _meet, *paths[::-1]) as second:
        self.assertTrue(first.result() and second.result())

  def test_ends_a_call_that_takes_too_long(self) -> None:
    started = time.monotonic()
    with self.assertRaisesRegex(guard.Failed, '^took longer than its limit of 1 s$'):
      guard.call(guard.Limits(seconds=1.0), _sleep, 60)
    self.assertLess(time.monotonic() - started, 15.0)

  def test_ends_a_call_that_grows_too_large(self) -> None:
    self.assertEqual(guard.call(_QUICK, _allocate, 1 << 28), 1 << 28)
    with self.assertRaisesRegex(guard.Failed, '^needed more memory than its limit of 1024 MB$'):
      guard.call(_QUICK, _allocate, 1 << 31)

  @parameterized.parameters('SIGSEGV', 'SIGABRT', 'SIGKILL')
  def test_survives_a_crash(self, name: str) -> None:
    with self.assertRaisesRegex(guard.Failed, f'^crashed with {name}$'):
      guard.call(_QUICK, _signal, getattr(signal, name))

  def test_reports_an_exception_in_one_line(self) -> None:
    with self.assertRaisesRegex(guard.Failed, "^KeyError: 'an unexpected key'$"):
      guard.call(_QUICK, _raise)

  def test_hands_on_what_was_refused(self) -> None:
    with self.assertRaisesRegex(guard.Refused, '^Expected this, found that.$'):
      guard.call(_QUICK, _refuse)

  def test_notices_a_missing_result(self) -> None:
    with self.assertRaisesRegex(guard.Failed, 'without a result'):
      guard.call(_QUICK, _leave)

  def test_leaving_the_context_ends_the_call(self) -> None:
    with tempfile.TemporaryDirectory() as folder, guard.Call(_QUICK, _sleep_beside, f'{folder}/pid'):
      pid = _read_pid(f'{folder}/pid')
    self.assertTrue(_wait_until_gone(pid))

  def test_dies_with_its_parent(self) -> None:
    with tempfile.TemporaryDirectory() as folder:
      program = (
        'from export import guard; from tests.export import guard_test as t; '
        f"guard.call(guard.Limits(), t._sleep_beside, '{folder}/pid')"
      )
      with subprocess.Popen([sys.executable, '-c', program], env={**os.environ, **_python_path()}) as parent:
        pid = _read_pid(f'{folder}/pid')
        self.assertFalse(_has_ended(pid))
        parent.kill()
      self.assertTrue(_wait_until_gone(pid))


def _python_path() -> dict[str, str]:
  return {'PYTHONPATH': os.pathsep.join(entry or os.getcwd() for entry in sys.path)}


def _has_ended(pid: int) -> bool:
  return not pathlib.Path(f'/proc/{pid}').exists()


def _read_pid(path: str) -> int:
  for _ in range(200):
    text = pathlib.Path(path).read_text() if os.path.exists(path) else ''
    if text:
      return int(text)
    time.sleep(0.05)
  raise TimeoutError('The child did not start.')


if __name__ == '__main__':
  absltest.main()
