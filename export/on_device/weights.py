"""How far weights are apart."""

from collections.abc import Sequence

import numpy as np


def difference(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
  """Returns the largest absolute difference between two lists of arrays, NaN if one number is not finite."""
  # NumPy's maximum is NaN if one number is; Python's depends on the order.
  return float(np.max([np.abs(left - right).max(initial=0) for left, right in zip(one, other, strict=True)], initial=0))
