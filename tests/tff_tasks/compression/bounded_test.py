"""Tests that the integers that a client sends are within the bound of their encoding, whatever that encoding does."""

import dataclasses
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks.compression import base
from tff_tasks.compression import bounded

_SEED = tf.constant([1, 2])
_LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Liar(base.Encoding):
  """Gives what it was made with, whatever its bound is."""

  given: Any = (3, 4)
  encoded_size: int = 2
  step: float = 0.5
  max_squared_levels: int = 25
  encoded_bytes: int = 2

  def encode(self, vector: tf.Tensor, rotation_seed: tf.Tensor, rounding_seed: tf.Tensor) -> tf.Tensor:
    return tf.constant(self.given)

  def decode(self, levels: tf.Tensor, rotation_seed: tf.Tensor) -> tf.Tensor:
    return tf.cast(levels, tf.float64) * self.step


@dataclasses.dataclass(frozen=True)
class Narrow(Liar):
  """States the largest integer, too."""

  @property
  def max_level(self) -> int:
    return 3


def _encode(inner: base.Encoding) -> list[int]:
  encoded = bounded.Bounded(inner, 2, 10, 'own').encode(tf.zeros(2), _SEED, _SEED)
  assert encoded.dtype == tf.int32
  return encoded.numpy().tolist()


class BoundedTest(parameterized.TestCase):
  @parameterized.parameters((3, 4), (-3, -4), (0, 5), (0, 0))
  def test_what_is_within_the_bound_is_sent(self, *given: int) -> None:
    self.assertEqual(_encode(Liar(given)), list(given))

  @parameterized.parameters((3, 5), (0, -6), (_LARGEST, _LARGEST), (-(2**31), 0))
  def test_what_exceeds_it_becomes_zeros(self, *given: int) -> None:
    self.assertEqual(_encode(Liar(given)), [0, 0])

  def test_arrays_and_lists_are_tensors(self) -> None:
    for given, expected in ((np.array([3, 4]), [3, 4]), ([3, 4], [3, 4]), ([3, 5], [0, 0])):
      with mock.patch.object(Liar, 'encode', return_value=given):
        self.assertEqual(_encode(Liar()), expected)
    message = 'Expected integers from --compression=own, found float32: cast them'
    with mock.patch.object(Liar, 'encode', return_value=[0.5, 0.5]), self.assertRaisesRegex(ValueError, message):
      _encode(Liar())

  def test_squares_beyond_64_bits_exceed_it(self) -> None:
    """2**63 squared 2 times over is 0 in 64 bits."""
    for given in ([2**62, 2**62], [-(2**63), 0], [2**32, 2**32]):
      self.assertEqual(_encode(Liar(np.array(given, np.int64))), [0, 0])

  def test_the_largest_integer_is_enforced_too(self) -> None:
    self.assertEqual(_encode(Narrow((3, 3))), [3, 3])
    self.assertEqual(_encode(Narrow((3, 4))), [0, 0])

  def test_is_the_encoding_otherwise(self) -> None:
    encoding = bounded.Bounded(Liar(), 2, 10, 'own')
    self.assertEqual((encoding.encoded_size, encoding.encoded_bytes, encoding.max_level), (2, 2, 5))
    self.assertEqual((encoding.norm_bound, encoding.max_squared_levels), (2.5, 25))
    self.assertEqual(encoding.decode(tf.constant([2, 4]), _SEED).numpy().tolist(), [1.0, 2.0])

  @parameterized.parameters(
    ({'max_squared_levels': 2**53}, 'Expected max_squared_levels of --compression=own to be an integer from 1 to'),
    ({'max_squared_levels': 2.5}, 'Expected max_squared_levels .*, found 2.5: correct its encoding'),
    ({'max_squared_levels': 0}, 'Expected max_squared_levels'),
    ({'encoded_size': -1}, 'Expected encoded_size'),
    ({'step': float('nan')}, 'Expected a finite step > 0 of --compression=own, found nan'),
    ({'max_squared_levels': 2**60 >> 9}, 'fit 32 bits, found integers up to 47453132 for 100 clients: use a coarser'),
  )
  def test_refuses_figures_out_of_range(self, wrong: dict[str, Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      bounded.Bounded(dataclasses.replace(Liar(), **wrong), 2, 100, 'own')

  def test_refuses_what_is_no_encoding(self) -> None:
    nothing: Any = None
    with self.assertRaisesRegex(ValueError, 'Expected an Encoding from the method build of --compression=own, found'):
      bounded.Bounded(nothing, 2, 100, 'own')
    with self.assertRaisesRegex(ValueError, 'Expected integers from --compression=own, found float32: cast them'):
      _encode(Liar((0.5, 0.5)))
    with self.assertRaisesRegex((ValueError, tf.errors.InvalidArgumentError), 'shape'):
      _encode(Liar((1, 2, 3)))


if __name__ == '__main__':
  absltest.main()
