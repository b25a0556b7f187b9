"""Enforces the bound of an encoding that somebody else wrote: the guarantee rests on it."""

import dataclasses
import math

import tensorflow as tf

from tff_tasks.compression import base

# Whole numbers up to this are exact in float64; sums that pass it stay above it.
_EXACT = 2**53


@dataclasses.dataclass(frozen=True)
class Bounded(base.Encoding):
  """An encoding whose integers become zeros if they exceed its own bound: that client then adds nothing.

  Attributes:
    inner: The encoding.
    dimension: How many numbers an update has.
    population: The most clients of a sum.
    name: What the user calls the compression, for messages.

  Raises:
    ValueError: If it is no encoding, its figures are out of range, or sums of its integers do not fit 32 bits.
  """

  inner: base.Encoding
  dimension: int
  population: int
  name: str

  def __post_init__(self) -> None:
    if not isinstance(self.inner, base.Encoding):
      raise ValueError(
        f'Expected an Encoding from the method build of --compression={self.name}, found {type(self.inner).__name__}: '
        'derive it from Encoding of tff_tasks/compression/base.py.'
      )
    for what, most in (('encoded_size', 2**40), ('max_squared_levels', _EXACT), ('max_level', _EXACT)):
      found = getattr(self, what)
      if not isinstance(found, int) or not 1 <= found < most:
        raise ValueError(
          f'Expected {what} of --compression={self.name} to be an integer from 1 to {most - 1}, found {found!r}: '
          'correct its encoding.'
        )
    if not 0 < self.step < math.inf:
      raise ValueError(f'Expected a finite step > 0 of --compression={self.name}, found {self.step}: correct it.')
    if self.max_level * self.population >= 2**31:
      raise ValueError(
        f'Expected sums of the integers of --compression={self.name} to fit 32 bits, found integers up to '
        f'{self.max_level} for {self.population} clients: use a coarser grid.'
      )

  @property
  def encoded_size(self) -> int:
    return self.inner.encoded_size

  @property
  def step(self) -> float:
    return self.inner.step

  @property
  def max_squared_levels(self) -> int:
    return self.inner.max_squared_levels

  @property
  def max_level(self) -> int:
    return self.inner.max_level

  @property
  def encoded_bytes(self) -> int:
    return self.inner.encoded_bytes

  def encode(self, vector: tf.Tensor, rotation_seed: tf.Tensor, rounding_seed: tf.Tensor) -> tf.Tensor:
    """Returns int32 `[encoded_size]`: what the encoding gives, or zeros if that exceeds its bound."""
    levels = tf.convert_to_tensor(self.inner.encode(vector, rotation_seed, rounding_seed))
    if not levels.dtype.is_integer:
      raise ValueError(f'Expected integers from --compression={self.name}, found {levels.dtype.name}: cast them.')
    levels = tf.cast(tf.ensure_shape(levels, [self.encoded_size]), tf.int64)
    is_small = tf.reduce_all((levels >= -self.max_level) & (levels <= self.max_level))
    # Half of the sum of squares.
    is_short = tf.nn.l2_loss(tf.cast(levels, tf.float64)) <= self.max_squared_levels / 2
    return tf.cast(tf.where(is_small & is_short, levels, 0), tf.int32)

  def decode(self, levels: tf.Tensor, rotation_seed: tf.Tensor) -> tf.Tensor:
    decoded = self.inner.decode(levels, rotation_seed)
    return tf.cast(tf.ensure_shape(decoded, [self.dimension]), tf.float64)
