"""A fine grid for updates that are sent whole: integers, so that a sum of them can take noise that is exact.

The grid is so fine that rounding to the nearest costs nothing that noise would not hide a thousand times: no rotation,
no random rounding, and so next to no time.
"""

import dataclasses
import math

import tensorflow as tf

from tff_tasks.compression import base

_STEPS_OF_CLIP = 1 << 20


@dataclasses.dataclass(frozen=True)
class FineGrid(base.Encoding):
  """Encodes float32 vectors of `dimension` numbers and L2 norm at most `clip_norm` as steps of `clip_norm / 2**20`."""

  dimension: int
  clip_norm: float

  @property
  def encoded_size(self) -> int:
    return self.dimension

  @property
  def step(self) -> float:
    return self.clip_norm / _STEPS_OF_CLIP

  @property
  def max_squared_levels(self) -> int:
    """See the base class: a vector of norm `clip_norm`, moved by at most half a step in each coordinate."""
    return math.floor((_STEPS_OF_CLIP + math.sqrt(self.dimension) / 2) ** 2)

  @property
  def encoded_bytes(self) -> int:
    return 4 * self.dimension

  def encode(self, vector: tf.Tensor, rotation_seed: tf.Tensor, rounding_seed: tf.Tensor) -> tf.Tensor:
    """Rounds to the nearest step; both seeds are for encodings that need them.

    Returns:
      int64 `[dimension]`: zeros if the vector is so long that it would exceed the bound.
    """
    del rotation_seed, rounding_seed
    levels = tf.floor(vector / self.step + 0.5)
    # Exact in float64 up to 2**53: the bound is below that, and larger sums stay above it.
    half_squared = tf.nn.l2_loss(tf.cast(levels, tf.float64))
    # False for what is not finite, too.
    is_within_bound = half_squared <= self.max_squared_levels / 2
    return tf.cast(tf.where(is_within_bound, levels, 0.0), tf.int64)

  def decode(self, levels: tf.Tensor, rotation_seed: tf.Tensor) -> tf.Tensor:
    """Reads the sum of encoded vectors back to float64 `[dimension]`."""
    del rotation_seed
    return tf.cast(levels, tf.float64) * self.step
