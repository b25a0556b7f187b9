"""A compression of one's own: each round sends a random part of the coordinates, in one byte each.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/random_coordinates \
    --compression=examples.extensions.random_coordinates:RandomCoordinates --compression_options=share=0.25
"""

import dataclasses
import math

import tensorflow as tf

from tff_tasks.compression import base
from tff_tasks.compression import codec

_MOST = 127  # The largest integer that is sent.


@dataclasses.dataclass(frozen=True)
class RandomCoordinates(base.Compression):
  """All clients of a round send the same coordinates, so that sums have them all; the mean is right on average.

  Attributes:
    share: The part of the coordinates that is sent.
  """

  share: float = 0.25

  def __post_init__(self) -> None:
    if not 0 < self.share <= 1:
      raise ValueError(f'Expected 0 < share <= 1, found {self.share}: set it in --compression_options.')

  def build(self, dimension: int, clip_norm: float) -> base.Encoding:
    return _Part(dimension, clip_norm, math.ceil(self.share * dimension))


@dataclasses.dataclass(frozen=True)
class _Part(base.Encoding):
  dimension: int
  clip_norm: float
  size: int

  @property
  def encoded_size(self) -> int:
    return self.size

  @property
  def step(self) -> float:
    return self.clip_norm / _MOST * self.dimension / self.size

  @property
  def max_level(self) -> int:
    return _MOST

  @property
  def max_squared_levels(self) -> int:
    # The part is no longer than the whole, and rounding moves each coordinate by less than 1.
    return math.floor((_MOST + math.sqrt(self.size)) ** 2)

  @property
  def encoded_bytes(self) -> int:
    return self.size

  def encode(self, vector: tf.Tensor, rotation_seed: tf.Tensor, rounding_seed: tf.Tensor) -> tf.Tensor:
    chosen = tf.gather(vector, self._indices(rotation_seed)) * (_MOST / self.clip_norm)
    return tf.cast(tf.floor(chosen + codec.uniform(rounding_seed, self.size)), tf.int32)

  def decode(self, levels: tf.Tensor, rotation_seed: tf.Tensor) -> tf.Tensor:
    values = tf.cast(levels, tf.float64) * self.step
    return tf.scatter_nd(self._indices(rotation_seed)[:, tf.newaxis], values, [self.dimension])

  def _indices(self, seed: tf.Tensor) -> tf.Tensor:
    order = tf.random.stateless_uniform([self.dimension], seed, None, None, tf.int32, alg='philox')
    return tf.argsort(order, stable=True)[: self.size]
