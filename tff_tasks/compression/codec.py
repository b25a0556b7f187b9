"""The update codec: a clipped vector as small integers on a fixed grid, with a norm bound that holds after rounding.

Kairouz, Liu, Steinke, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation"
(arXiv 2102.06387, sections 4 and 5): rotate, so that no coordinate stands out; scale to a grid that does not depend on
the data; round stochastically, and draw again until the norm is within the bound. Sums of the integers are exact, which
is what secure aggregation needs too. The bound, not the clip, is what the noise must be calibrated to.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from tff_tasks.compression import base

# Coordinates are rotated in blocks, so that the upload is padded to a multiple of this and not to a power of two.
_MAX_BLOCK = 1024
# The grid ends at this many standard deviations of a rotated coordinate (clip / sqrt(dimension)): about 1 in 16,000
# coordinates of an even vector saturates. Saturation only ever shortens a vector.
_GRID_DEVIATIONS = 4.0
# The chance, at most, that one rounding of a vector exceeds the bound and is drawn again (beta in the paper).
_REDRAW_CHANCE = 1e-3
_MAX_DRAWS = 8


@dataclasses.dataclass(frozen=True)
class Codec(base.Encoding):
  """Encodes float32 vectors of `dimension` numbers and L2 norm at most `clip_norm` in `bits` bits a coordinate.

  Raises:
    ValueError: If an argument is out of range.
  """

  dimension: int
  clip_norm: float
  bits: int

  def __post_init__(self) -> None:
    if self.dimension < 1:
      raise ValueError(f'Expected a dimension of at least 1, found {self.dimension}.')
    if not 0 < self.clip_norm < math.inf:
      raise ValueError(f'Expected a finite clip_norm > 0, found {self.clip_norm}.')
    if not 2 <= self.bits <= 16:
      raise ValueError(f'Expected 2 to 16 quantization_bits, found {self.bits}.')

  @property
  def max_level(self) -> int:
    """The largest integer of the grid, which reaches from minus this to this."""
    return 2 ** (self.bits - 1) - 1

  @property
  def block(self) -> int:
    """The number of coordinates that are mixed with each other: a power of two."""
    return min(_MAX_BLOCK, 1 << (self.dimension - 1).bit_length())

  @property
  def encoded_size(self) -> int:
    """The number of integers that encode one vector: `dimension` rounded up to an odd number of whole blocks.

    Coordinates go to the blocks in turn; an even number of them would send all of a column to the same block in a layer
    of even width.
    """
    return (-(-self.dimension // self.block) | 1) * self.block

  @property
  def step(self) -> float:
    """The width of the grid (gamma in the paper), in units of the vector."""
    largest = min(1.0, _GRID_DEVIATIONS / math.sqrt(self.encoded_size)) * self.clip_norm
    return largest / self.max_level

  @property
  def max_squared_levels(self) -> int:
    """The largest allowed sum of the squared integers of one encoded vector.

    The two bounds of the paper (proposition 4.2 and equation 2) after rounding a vector of norm `clip_norm`.
    """
    clip, size = self.clip_norm / self.step, self.encoded_size
    always = (clip + math.sqrt(size)) ** 2
    likely = clip**2 + size / 4 + math.sqrt(2 * math.log(1 / _REDRAW_CHANCE)) * (clip + math.sqrt(size) / 2)
    return math.floor(min(always, likely))

  @property
  def encoded_bytes(self) -> int:
    """Bytes of one encoded vector on the wire, packed."""
    return -(-self.encoded_size * self.bits // 8)

  def encode(self, vector: tf.Tensor, rotation_seed: tf.Tensor, rounding_seed: tf.Tensor) -> tf.Tensor:
    """Rotates and rounds one vector.

    Args:
      vector: float32 `[dimension]`, of norm at most `clip_norm`.
      rotation_seed: int32 `[2]`, the same for all vectors of a sum.
      rounding_seed: int32 `[2]`, another one for each vector.

    Returns:
      int32 `[encoded_size]` of magnitudes up to `max_level`, whose decoded norm is at most `norm_bound`.
    """
    padded = tf.pad(vector, [[0, self.encoded_size - self.dimension]])
    rotated = self._rotate(padded * self._signs(rotation_seed)) / self.step
    limit = float(self.max_level)
    scaled = tf.clip_by_value(rotated, -limit, limit)

    def draw(attempt: tf.Tensor) -> tf.Tensor:
      seed = tf.random.experimental.stateless_fold_in(rounding_seed, attempt, alg='philox')
      drawn = tf.cast(tf.floor(scaled + uniform(seed, self.encoded_size)), tf.int32)
      return tf.minimum(drawn, self.max_level)  # float32 can round the largest level up to the next.

    attempt, levels = tf.while_loop(
      lambda attempt, levels: tf.logical_and(attempt < _MAX_DRAWS, tf.logical_not(self._is_within_bound(levels))),
      lambda attempt, _: (attempt + 1, draw(attempt)),
      (tf.constant(1), draw(tf.constant(0))),
    )
    del attempt
    # Rounding toward zero cannot lengthen the vector; the small shrinkage covers float32 in the rotation. A vector that
    # was not clipped is still too long, and becomes nothing: the bound holds whatever comes.
    shortened = tf.cast(scaled * 0.999, tf.int32)
    shortened = tf.where(self._is_within_bound(shortened), shortened, 0)
    return tf.where(self._is_within_bound(levels), levels, shortened)

  def decode(self, levels: tf.Tensor, rotation_seed: tf.Tensor) -> tf.Tensor:
    """Reads an encoded vector, or the sum of several, back to float64 `[dimension]`: float32 would round large sums."""
    rotated = self._rotate(tf.cast(levels, tf.float64) * self.step)
    return (rotated * tf.cast(self._signs(rotation_seed), tf.float64))[: self.dimension]

  def _is_within_bound(self, levels: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(levels, tf.int64)
    return tf.reduce_sum(wide * wide) <= self.max_squared_levels

  def _signs(self, seed: tf.Tensor) -> tf.Tensor:
    bits = tf.random.stateless_uniform([self.encoded_size], seed, 0, 2, tf.int32, alg='philox')
    return tf.cast(2 * bits - 1, tf.float32)

  def _rotate(self, vector: tf.Tensor) -> tf.Tensor:
    """Applies an orthonormal Hadamard matrix, its own inverse, to each block.

    Neighbors go to different blocks, so that a layer with large updates is spread over all of them. The matrix of a
    block is the Kronecker product of two small ones: two matrix products instead of log2(block) passes.
    """
    rows = 1 << ((self.block.bit_length() - 1) // 2)
    cube = tf.reshape(vector, [rows, self.block // rows, -1])
    left, right = (_hadamard(size).astype(vector.dtype.as_numpy_dtype) for size in (rows, self.block // rows))
    cube = tf.einsum('ab,bcn->acn', left, cube)
    cube = tf.einsum('cd,adn->acn', right, cube)
    return tf.reshape(cube, [-1])


def uniform(seed: tf.Tensor, size: int) -> tf.Tensor:
  """Returns float32 `[size]` in [0, 1), the same with and without XLA, which turn bits into floats differently."""
  bits = tf.random.stateless_uniform([size], seed, None, None, tf.uint32, alg='philox')
  return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def _hadamard(size: int) -> np.ndarray:
  """Returns Sylvester's Hadamard matrix of a power of two, scaled to be orthonormal."""
  matrix = np.ones((1, 1))
  while len(matrix) < size:
    matrix = np.block([[matrix, matrix], [matrix, -matrix]])
  return matrix / math.sqrt(size)
