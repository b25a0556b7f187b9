"""Threads that execute tasks: one a core, their results in the order of the tasks whichever ends first."""

import collections
from collections.abc import Callable, Generator, Iterable
from concurrent import futures
import ctypes
import itertools
import os
import threading
from typing import TypeVar

_T = TypeVar('_T')

# A task to execute and one to come next: no thread waits for the consumer, and results do not pile up.
_TASKS_PER_THREAD = 2
# The C library gives threads a few arenas to allocate from, and TensorFlow has more threads than that without using
# them: when two that work had the same one, both took twice as long.
_M_ARENA_MAX = -8  # As in malloc.h.
_ARENAS = 256


class Workers:
  """Threads that stay until they are closed.

  Whatever a task raises, be it `SystemExit`, becomes the error of who waits for it. A task must not wait for another
  one: there may be no thread left to execute that.

  Attributes:
    num_threads: How many tasks are executed at the same time.

  Args:
    num_threads: By default one a core that this process may use.

  Raises:
    RuntimeError: If the system has not so many threads.
  """

  def __init__(self, num_threads: int | None = None) -> None:
    self.num_threads = len(os.sched_getaffinity(0)) if num_threads is None else num_threads
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    self._pool = futures.ThreadPoolExecutor(self.num_threads, thread_name_prefix='worker')
    # Not by the main thread: a signal that it gets while it starts one leaves a thread that the pool does not know, and
    # the program waits for that for ever.
    errors: list[RuntimeError] = []
    starter = threading.Thread(target=self._start_threads, args=[errors])
    starter.start()
    starter.join()
    if errors:
      self.close()
      raise errors[0]

  def _start_threads(self, errors: list[RuntimeError]) -> None:
    everyone = threading.Barrier(self.num_threads)
    try:
      for _ in range(self.num_threads):
        self._pool.submit(everyone.wait)
    except RuntimeError as error:  # The system has no more threads.
      everyone.abort()
      errors.append(error)

  def submit(self, task: Callable[[], _T]) -> 'futures.Future[_T]':
    """Lets a thread execute the task when one is free."""
    return self._pool.submit(task)

  def in_order(self, tasks: Iterable[Callable[[], _T]]) -> Generator[_T, None, None]:
    """Yields the results in the order of the tasks, which are taken as they are needed.

    Tasks that follow a failed one, or that nobody waits for because the generator was closed, are not begun any more;
    those that run are waited for, as they may still use what the caller is about to give up.
    """
    remaining = iter(tasks)
    pending: collections.deque[futures.Future[_T]] = collections.deque()
    try:
      pending.extend(map(self.submit, itertools.islice(remaining, _TASKS_PER_THREAD * self.num_threads)))
      while pending:
        yield _take(pending)
        pending.extend(map(self.submit, itertools.islice(remaining, 1)))
    finally:
      # A cancelled one counts as done only when a thread comes across it, which other tasks may keep busy.
      futures.wait([future for future in pending if not future.cancel()])

  def close(self) -> None:
    """Ends the threads when they are through with what they execute now."""
    self._pool.shutdown(cancel_futures=True)


def _take(pending: collections.deque['futures.Future[_T]']) -> _T:
  """Returns the first result; a task is pending until then, so that it is waited for if the wait is interrupted."""
  result = pending[0].result()
  pending.popleft()
  return result
