"""Finds the smallest number whose value is within a limit, with few values looked at: each may be costly. A leaf."""

from collections.abc import Callable
import functools
import math

_START = 1000


def smallest_within(value: Callable[[int], float], limit: float, largest: int) -> int | None:
  """Returns the smallest number from 1 to `largest` whose value is within a limit, or None if none is.

  Args:
    value: The value of a number: falls as numbers grow, about as a power of them; may be infinite.
    limit: The limit.
    largest: The largest number, at least 1,000.
  """
  known = functools.cache(value)
  within = _START
  while known(within) > limit:
    if within == largest:
      return None
    within = min(2 * within, largest)
  above = within // 2
  while above and known(above) <= limit:
    within, above = above, above // 2
  return _search(known, limit, above, within)


def _search(value: Callable[[int], float], limit: float, above: int, within: int) -> int:
  """Returns the first number within the limit, between a number `above` it and one `within` it.

  The value is followed along the line of a power, which takes fewer values than bisection.
  """
  step = 0
  while within - above > 1:
    step += 1
    share = 0.5
    if step % 3:  # The others make sure that it ends soon even if the line misleads.
      share = math.log(value(above) / limit) / math.log(value(above) / max(value(within), limit / 1000))
      share = share if math.isfinite(share) else 0.5  # Nothing follows from an infinite value.
    number = min(max(math.ceil(above * (within / above) ** share), above + 1), within - 1)
    if value(number) <= limit:
      within = number
    else:
      above = number
  return within
