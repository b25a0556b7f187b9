"""Tests that a signal ends a program wherever it is, in programs of their own."""

import pathlib
import signal
import subprocess
import sys
import textwrap
import time

from absl.testing import absltest
from absl.testing import parameterized

_ROOT = str(pathlib.Path(__file__).parents[2])
# Where the exception is lost that a handler raises: `strike` sends the signal.
_LOSSES = {
  'gc': 'gc.callbacks.append(lambda phase, _: strike() if phase == "start" else None); gc.collect()',
  'del': 'type("Thing", (), {"__del__": lambda _: strike()})()',
  'weakref': 'thing = set(); link = weakref.ref(thing, lambda _: strike()); del thing',
  'ctypes': 'ctypes.CFUNCTYPE(None)(strike)()',
  'swallowed': 'with contextlib.suppress(BaseException): strike()',
}
_PROGRAM = textwrap.dedent("""
    import contextlib, ctypes, gc, os, signal, time, weakref
    from common import cli
    struck = []
    def strike():
      if struck:
        return
      struck.append(True)
      os.kill(os.getpid(), signal.{number})
      for _ in range(1000):
        pass
    def main():
      try:
        {body}
        time.sleep(20)
      finally:
        {cleanup}
        print('clean', flush=True)
    cli.run(main)
""")


def _heed_signals() -> None:
  """Undoes what the tests inherit if they run in the background."""
  for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)


def _start(program: str) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [sys.executable, '-c', program],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={'PYTHONPATH': _ROOT},
    preexec_fn=_heed_signals,
  )


class SignalsTest(parameterized.TestCase):
  @parameterized.product(loss=tuple(_LOSSES), number=('SIGTERM', 'SIGHUP'))
  def test_a_lost_signal_comes_again(self, loss: str, number: str) -> None:
    program = _PROGRAM.format(number=number, body=_LOSSES[loss], cleanup='pass')
    process = _start(program)
    said = process.communicate(timeout=15)
    self.assertEqual((process.returncode, *said), (128 + getattr(signal, number), 'clean\n', ''))

  def test_cleaning_up_is_not_disturbed(self) -> None:
    cleanup = 'for _ in range(15): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1)'
    process = _start(_PROGRAM.format(number='SIGTERM', body='strike()', cleanup=cleanup))
    self.assertEqual(process.communicate(timeout=15), ('clean\n', ''))
    self.assertEqual(process.returncode, 128 + signal.SIGTERM)

  def test_who_asks_again_later_ends_cleaning_up_that_hangs(self) -> None:
    cleanup = "print('on', flush=True); time.sleep(20)"
    process = _start(_PROGRAM.format(number='SIGTERM', body='strike()', cleanup=cleanup))
    assert process.stdout is not None
    self.assertEqual(process.stdout.readline(), 'on\n')
    time.sleep(3.2)
    process.send_signal(signal.SIGTERM)
    self.assertEqual(process.communicate(timeout=10), ('', ''))
    self.assertEqual(process.returncode, 128 + signal.SIGTERM)

  def test_an_ignored_signal_stays_ignored(self) -> None:
    program = 'import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)' + _PROGRAM.format(
      number='SIGHUP', body='os.kill(os.getpid(), signal.SIGHUP); return', cleanup='pass'
    )
    process = _start(program)
    self.assertEqual(process.communicate(timeout=15), ('clean\n', ''))
    self.assertEqual(process.returncode, 0)

  def test_any_moment_of_the_first_second_ends_it(self) -> None:
    body = 'import decimal, email.mime.text, numpy, pyarrow, unittest.mock; gc.collect()'
    program = _PROGRAM.format(number='SIGTERM', body=body, cleanup='pass')
    for number in range(1, 21):
      process = _start(program)
      time.sleep(0.05 * number)
      process.terminate()
      self.assertEqual(process.communicate(timeout=15)[1], '')
      # Before the program has begun, the default ends it.
      self.assertIn(process.returncode, (128 + signal.SIGTERM, -signal.SIGTERM))


if __name__ == '__main__':
  absltest.main()
