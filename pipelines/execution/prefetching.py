"""Making the next thing while the last one is used."""

from collections.abc import Generator, Iterable
from concurrent import futures
from typing import TypeVar

_T = TypeVar('_T')


def prefetch(items: Iterable[_T]) -> Generator[_T, None, None]:
  """Yields the items, none of which is None; another thread is always one ahead.

  Worth it where both sides spend their time in Arrow, NumPy or the filesystem, which leave the interpreter to others.
  """
  iterator = iter(items)

  def take() -> _T | None:
    return next(iterator, None)

  with futures.ThreadPoolExecutor(1) as thread:
    upcoming = thread.submit(take)
    while (item := upcoming.result()) is not None:
      upcoming = thread.submit(take)
      yield item
