"""Tests of the threads that execute tasks: order, bounds, errors and ends."""

from collections.abc import Callable, Iterator
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks.runtime import workers

# Longer than any of this takes; whoever waits so long waits for ever.
_SECONDS_TO_HANG = 30

_INTERRUPTED = """
import signal
import time
from tff_tasks.runtime import workers

# Not what is inherited if the tests run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

def task():
  print('begun', flush=True)
  time.sleep(0.5)

for _ in workers.Workers(2).in_order(task for _ in range(1000)):
  pass
"""


class WorkersTest(parameterized.TestCase):
  def _workers(self, num_threads: int | None) -> workers.Workers:
    created = workers.Workers(num_threads)
    self.addCleanup(created.close)
    return created

  @parameterized.parameters((1, 7), (2, 50), (5, 3), (3, 0), (None, 9))
  def test_results_come_in_the_order_of_the_tasks(self, num_threads: int | None, num_tasks: int) -> None:
    def task(number: int) -> Callable[[], int]:
      def work() -> int:
        time.sleep(0.004 * (number % 3 == 0))  # The others overtake it.
        return number

      return work

    results = self._workers(num_threads).in_order(map(task, range(num_tasks)))
    self.assertEqual(list(results), list(range(num_tasks)))

  def test_there_is_one_thread_a_core(self) -> None:
    self.assertEqual(self._workers(None).num_threads, len(os.sched_getaffinity(0)))
    self.assertEqual(self._workers(3).num_threads, 3)
    with self.assertRaises(ValueError):
      workers.Workers(0)

  def test_threads_work_at_the_same_time(self) -> None:
    everyone = threading.Barrier(3, timeout=_SECONDS_TO_HANG)
    self.assertCountEqual(self._workers(3).in_order([everyone.wait] * 6), [0, 1, 2] * 2)

  def test_tasks_are_taken_as_they_are_needed(self) -> None:
    taken = itertools.count()
    results = self._workers(3).in_order(lambda: None for _ in iter(lambda: next(taken), None))
    next(results)
    self.assertEqual(next(taken), 6)
    next(results)
    self.assertEqual(next(taken), 8)  # One for the one that was yielded, and the look above.
    results.close()

  @parameterized.parameters(ValueError, MemoryError, SystemExit, KeyboardInterrupt)
  def test_an_error_comes_in_the_place_of_its_task(self, error: type[BaseException]) -> None:
    def fail() -> None:
      raise error('broken')

    executed: list[int] = []
    tasks: list[Callable[[], None]] = [lambda: executed.append(0), fail, *[lambda: executed.append(1)] * 99]
    pool = self._workers(2)
    results = pool.in_order(tasks)
    self.assertIsNone(next(results))
    with self.assertRaisesRegex(error, 'broken'):
      next(results)
    self.assertLessEqual(len(executed), 4)
    self.assertEqual(list(pool.in_order([lambda: 'as before'])), ['as before'])

  def test_an_error_of_who_makes_the_tasks_ends_it(self) -> None:
    def tasks() -> Iterator[Callable[[], int]]:
      yield lambda: 1
      raise ValueError('No more.')

    with self.assertRaisesRegex(ValueError, 'No more.'):
      list(self._workers(2).in_order(tasks()))

  def test_what_runs_is_waited_for_and_the_rest_never_begins(self) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def task() -> None:
      begun.append(1)
      time.sleep(0.05)
      ended.append(1)

    pool = self._workers(2)
    tasks: list[Callable[[], None]] = [lambda: None, *[task] * 9]
    results = pool.in_order(tasks)
    next(results)
    while not begun:
      time.sleep(0.001)
    results.close()
    before = len(begun)
    self.assertLen(ended, before)
    pool.submit(lambda: None).result(_SECONDS_TO_HANG)
    self.assertLen(begun, before)
    self.assertLess(before, 9)

  def test_an_end_does_not_wait_for_the_tasks_of_others(self) -> None:
    pool, gate = self._workers(1), threading.Event()
    self.addCleanup(gate.set)
    results = pool.in_order([lambda: 1, lambda: 2, lambda: 3])
    self.assertEqual(next(results), 1)
    blocker = pool.submit(lambda: gate.wait(_SECONDS_TO_HANG))
    self.assertEqual(next(results), 2)
    results.close()  # The third comes behind the blocker.
    self.assertFalse(blocker.done())

  def test_close_ends_the_threads(self) -> None:
    pool = workers.Workers(2)
    pool.submit(lambda: None).result(_SECONDS_TO_HANG)
    gate = threading.Event()
    running, waiting = [pool.submit(gate.wait) for _ in range(2)], pool.submit(gate.wait)
    threading.Timer(0.05, gate.set).start()
    pool.close()
    self.assertTrue(all(future.done() for future in running))
    self.assertTrue(waiting.cancelled())
    self.assertFalse([thread for thread in threading.enumerate() if thread.name.startswith('worker')])

  def test_no_thread_is_started_while_tasks_are_submitted(self) -> None:
    """What interrupts the main thread while it starts one leaves a thread that the program waits for at its end."""
    before = set(threading.enumerate())
    created = self._workers(3)
    started = set(threading.enumerate()) - before
    self.assertLen(started, 3)
    self.assertEqual(list(created.in_order(lambda: 1 for _ in range(20))), [1] * 20)
    self.assertEqual(set(threading.enumerate()) - before, started)

  def test_threads_that_cannot_be_started_are_an_error(self) -> None:
    start, started = threading.Thread.start, itertools.count()

    def limited(thread: threading.Thread) -> None:
      if next(started) > 2:  # The one that starts the others, and two of them.
        raise RuntimeError("can't start new thread")
      start(thread)

    before = threading.active_count()
    with (
      mock.patch.object(threading.Thread, 'start', limited),
      self.assertRaisesRegex(RuntimeError, "can't start new thread"),
    ):
      workers.Workers(4)
    self.assertEqual(threading.active_count(), before)

  def test_an_interrupt_ends_the_program(self) -> None:
    command = [sys.executable, '-c', _INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
      self.addCleanup(child.kill)
      child.stdout.readline()  # type: ignore[union-attr]
      child.send_signal(signal.SIGINT)
      output, error = child.communicate(timeout=_SECONDS_TO_HANG)
    self.assertIn(b'KeyboardInterrupt', error)
    self.assertLess(output.count(b'begun'), 10)


if __name__ == '__main__':
  absltest.main()
