"""What a privacy guarantee of this project is about, how its cost is read, and how an epsilon is written. A leaf.

All programs use the same unit and the same neighboring relation, so that costs can be added up.
"""

from collections.abc import Mapping
import decimal
import math
from typing import Any, NamedTuple, TypeGuard

UNIT = 'client'
# The number of client ids is taken as public: a client without data still counts as one.
ADJACENCY = "one client's data replaced by none (zero-out)"
# A larger epsilon promises nothing that is of use to a person, and exp(epsilon) still is a number.
LARGEST_EPSILON = 100.0

# What an export publishes without noise of each run, as the ledger lists it.
PUBLISHED = 'exact, published with the model'
CHECKED = 'number of held-out examples and answers that the files were checked on'
DATA_HASH = 'hash of the data set'
EXPORTED = (CHECKED, DATA_HASH)

_DECIMALS = decimal.Decimal('0.01')
_SIGNIFICANT_DIGITS = 2
_DIGITS_OF_DELTA = 3
# Below it, two decimals would say too little.
_SMALL = decimal.Decimal('0.1')


class Cost(NamedTuple):
  """An (epsilon, delta)."""

  epsilon: float = 0.0
  delta: float = 0.0


NOTHING = Cost()


def read_cost(entry: Mapping[str, Any], remedy: str) -> Cost:
  """Returns what an entry of a manifest's `learned`, of source 'dp', has cost.

  Args:
    entry: The entry.
    remedy: What to do if it says something else; ends the message.

  Raises:
    ValueError: If the entry is about another unit or another neighboring relation, or its cost is not a number.
  """
  what, unit, adjacency = (entry.get(key) for key in ('what', 'unit', 'adjacency'))
  if (unit, adjacency) != (UNIT, ADJACENCY):
    raise ValueError(
      f'Expected the cost of {what!r} for unit {UNIT!r} and adjacency {ADJACENCY!r}, found {unit!r} and '
      f'{adjacency!r}, which cannot be added to the cost of training: {remedy}.'
    )
  epsilon, delta = entry.get('epsilon'), entry.get('delta')
  if not (_is_number(epsilon) and _is_number(delta) and epsilon >= 0 and 0 <= delta < 1):
    raise ValueError(
      f'Expected a finite epsilon >= 0 and 0 <= delta < 1 as the cost of {what!r}, found {epsilon!r} and {delta!r}: '
      f'{remedy}.'
    )
  return Cost(epsilon, delta)


def _is_number(value: Any) -> TypeGuard[float]:
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def format_epsilon(epsilon: float) -> str:
  """Returns an epsilon for people, rounded up: two decimals, or two significant digits if it is small."""
  # The shortest text that reads back as this number: 1.1 is not a little more than 1.1.
  exact = decimal.Decimal(repr(float(epsilon)))
  if not exact.is_finite() or not exact:
    return f'{epsilon:g}'
  if exact >= _SMALL:
    return f'{exact.quantize(_DECIMALS, decimal.ROUND_CEILING):f}'
  return _round_up(exact, _SIGNIFICANT_DIGITS)


def format_delta(delta: float) -> str:
  """Returns a delta for people, rounded up to three significant digits."""
  return _round_up(decimal.Decimal(repr(float(delta))), _DIGITS_OF_DELTA) if delta else '0'


def _round_up(exact: decimal.Decimal, digits: int) -> str:
  step = decimal.Decimal(1).scaleb(exact.adjusted() - digits + 1)
  return f'{float(exact.quantize(step, decimal.ROUND_CEILING)):g}'
