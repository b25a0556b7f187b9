"""What a compression is: a frozen dataclass whose fields are its options. It says how an update becomes integers.

One of your own is a class such as this, in a module that can be imported. It rounds each coordinate to one of seven
levels. `--compression=my_package.my_module:Coarse --compression_options=steps=3` trains with it:

    import dataclasses
    import tensorflow as tf
    from tff_tasks.compression import base

    @dataclasses.dataclass(frozen=True)
    class Coarse(base.Compression):
      steps: int = 3

      def build(self, dimension, clip_norm):
        return Rounded(dimension, clip_norm / self.steps, self.steps)

    @dataclasses.dataclass(frozen=True)
    class Rounded(base.Encoding):
      dimension: int
      width: float
      steps: int

      @property
      def encoded_size(self):
        return self.dimension

      @property
      def step(self):
        return self.width

      @property
      def max_squared_levels(self):  # Rounding to zero shortens a vector.
        return self.steps**2

      @property
      def encoded_bytes(self):
        return self.dimension

      def encode(self, vector, rotation_seed, rounding_seed):
        return tf.cast(vector / self.width, tf.int32)

      def decode(self, levels, rotation_seed):
        return tf.cast(levels, tf.float64) * self.width

Noise is added to the sum of the integers, and is as large as `max_squared_levels` asks for. So that bound is enforced:
of a compression of your own, a vector whose integers exceed it becomes zeros (`bounded.Bounded`).
"""

import abc
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  import tensorflow as tf


class Encoding(abc.ABC):
  """How a clipped update becomes integers on a grid that does not depend on the data, and a sum of them a vector.

  Decoding is linear: the decoded sum of encoded vectors is the sum of their decoded values.
  """

  @property
  @abc.abstractmethod
  def encoded_size(self) -> int:
    """The number of integers that encode one vector."""

  @property
  @abc.abstractmethod
  def step(self) -> float:
    """The width of the grid, in units of the vector."""

  @property
  @abc.abstractmethod
  def max_squared_levels(self) -> int:
    """The largest allowed sum of the squared integers of one encoded vector."""

  @property
  def max_level(self) -> int:
    """The largest magnitude of one integer: what sums of them must have bits for."""
    return math.isqrt(self.max_squared_levels)

  @property
  @abc.abstractmethod
  def encoded_bytes(self) -> int:
    """Bytes of one encoded vector on the wire, packed."""

  @property
  def norm_bound(self) -> float:
    """The L2 norm that no decoded vector exceeds: the sensitivity of their sum to one client."""
    return self.step * math.sqrt(self.max_squared_levels)

  @abc.abstractmethod
  def encode(self, vector: 'tf.Tensor', rotation_seed: 'tf.Tensor', rounding_seed: 'tf.Tensor') -> 'tf.Tensor':
    """Rounds one vector to integers `[encoded_size]`, within the bound whatever the vector is.

    Args:
      vector: float32 `[dimension]`, of norm at most `clip_norm`.
      rotation_seed: int32 `[2]`, the same for all vectors of a sum. The server knows it.
      rounding_seed: int32 `[2]`, another one for each vector.
    """

  @abc.abstractmethod
  def decode(self, levels: 'tf.Tensor', rotation_seed: 'tf.Tensor') -> 'tf.Tensor':
    """Reads an encoded vector, or the sum of several with noise on it, back to float64 `[dimension]`."""


class Compression(abc.ABC):
  """A frozen dataclass that derives from this. Its fields are options: each an int, float, bool or str."""

  @abc.abstractmethod
  def build(self, dimension: int, clip_norm: float) -> Encoding:
    """Returns how updates become integers.

    Args:
      dimension: How many numbers an update has.
      clip_norm: The largest L2 norm of an update.

    Raises:
      ValueError: If such updates cannot be encoded.
    """

  def describe(self) -> str:
    """Says for the ledger what becomes of an update."""
    return f'compressed by {self!r}'
