"""Whether the model that devices have trained is the one that the run released."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from export.on_device import weights as weights_lib

# Of the distance that the model moved. Rounding shows as less than 1e-6, steps that are a tenth too long as 4e-3.
_SHARE = 1e-4
# Updates that are rounded to a grid may fall on the next number of it, and convolutions meet ties of activations.
_WIDE_SHARE = 0.1
_MOST_AXES = 2  # Of the weights of a model without convolutions.


class Comparison(NamedTuple):
  """How far two models are apart.

  Attributes:
    largest: The largest difference between two weights.
    moved: By how much the weight moved that moved most.
    share: The Euclidean distance between the models, as a share of the distance that the released one moved.
    allowed: The largest share that rounding explains.
  """

  largest: float
  moved: float
  share: float
  allowed: float

  @property
  def is_close(self) -> bool:
    """Whether they are the same but for rounding; false if a weight is not finite."""
    return self.share <= self.allowed  # NaN compares false with everything.


def compare(
  found: Sequence[np.ndarray], released: Sequence[np.ndarray], initial: Sequence[np.ndarray], is_rounded: bool
) -> Comparison:
  """Compares two models.

  Args:
    found: The weights that devices have trained.
    released: Those that the run released.
    initial: Those that both began with.
    is_rounded: Whether updates are rounded to a grid.
  """
  has_convolutions = any(weight.ndim > _MOST_AXES for weight in initial)
  apart, moved = _distance(found, released), _distance(released, initial)
  return Comparison(
    weights_lib.difference(found, released),
    weights_lib.difference(released, initial),
    apart / moved if moved else apart,
    _WIDE_SHARE if is_rounded or has_convolutions else _SHARE,
  )


def _distance(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
  return float(
    np.sqrt(sum(np.square(left - right, dtype=np.float64).sum() for left, right in zip(one, other, strict=True)))
  )
