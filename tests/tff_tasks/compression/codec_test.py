from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tff_tasks.compression import codec as codec_lib

_CLIP = 0.3
_ROTATION_SEED = np.array([7, 8], np.int32)


def _hostile_vectors(dimension: int) -> dict[str, np.ndarray]:
  """Returns vectors of norm at most the clip that a careless codec gets wrong."""
  stream = np.random.default_rng(0)
  directions = {
    'one huge coordinate': np.eye(1, dimension, dimension // 2)[0],
    'all equal': np.ones(dimension),
    'all halfway between two levels': np.where(np.arange(dimension) % 2, 1.0, -1.0),
    'random': stream.normal(size=dimension),
    'a few large, many tiny': stream.normal(size=dimension) ** 9,
  }
  vectors = {name: _CLIP * vector / np.linalg.norm(vector) for name, vector in directions.items()}
  vectors |= {'zeros': np.zeros(dimension), 'tiny': stream.normal(size=dimension) * 1e-30}
  return {name: vector.astype(np.float32) for name, vector in vectors.items()}


def _encode(codec: codec_lib.Codec, vector: np.ndarray, seed: int = 1) -> np.ndarray:
  return codec.encode(tf.constant(vector, tf.float32), _ROTATION_SEED, tf.constant([seed, 5])).numpy()


def _decode(codec: codec_lib.Codec, levels: np.ndarray) -> np.ndarray:
  return codec.decode(tf.constant(levels), _ROTATION_SEED).numpy()


class CodecTest(parameterized.TestCase):
  @parameterized.product(dimension=(1, 3, 1000, 5000), bits=(2, 4, 8, 16))
  def test_no_decoded_vector_exceeds_the_bound(self, dimension: int, bits: int) -> None:
    codec = codec_lib.Codec(dimension, _CLIP, bits)
    for name, vector in _hostile_vectors(dimension).items():
      for seed in range(5):
        levels = _encode(codec, vector, seed)
        with self.subTest(name, seed=seed):
          # What enters the sum, in whole numbers: exact. The decoded one is shorter only by float32 and the padding.
          self.assertLessEqual(int(np.sum(levels.astype(np.int64) ** 2)), codec.max_squared_levels)
          self.assertLessEqual(np.linalg.norm(_decode(codec, levels).astype(np.float64)), codec.norm_bound * (1 + 1e-5))
          self.assertLessEqual(np.abs(levels).max(), codec.max_level)

  def test_a_vector_that_no_rounding_keeps_within_the_bound_is_rounded_toward_zero(self) -> None:
    codec, vector = codec_lib.Codec(1000, _CLIP, 4), _hostile_vectors(1000)['random']
    padded = tf.pad(vector, [[0, codec.encoded_size - 1000]])
    rotated = codec._rotate(padded * codec._signs(tf.constant(_ROTATION_SEED)))
    # Draws that always round away from zero exceed the bound, however often they are repeated.
    away = tf.where(rotated > 0, 0.999, 0.0)
    with mock.patch.object(codec_lib, 'uniform', return_value=away):
      levels = _encode(codec, vector)
    np.testing.assert_array_equal(levels, np.trunc(np.clip(rotated / codec.step, -7, 7) * np.float32(0.999)))
    self.assertLessEqual(int(np.sum(levels.astype(np.int64) ** 2)), codec.max_squared_levels)
    self.assertGreater(np.abs(levels).max(), 0)

  @parameterized.parameters(1.01, 2.0, 1e6)
  def test_a_vector_that_was_not_clipped_does_not_break_the_bound(self, factor: float) -> None:
    codec = codec_lib.Codec(1000, _CLIP, 8)
    levels = _encode(codec, np.float32(factor) * _hostile_vectors(1000)['random'])
    self.assertLessEqual(int(np.sum(levels.astype(np.int64) ** 2)), codec.max_squared_levels)

  @parameterized.parameters((4, 1.06), (8, 1.003), (16, 1.0001))
  def test_the_bound_is_close_to_the_clip(self, bits: int, factor: float) -> None:
    bound = codec_lib.Codec(20_000, _CLIP, bits).norm_bound
    self.assertBetween(bound, _CLIP, factor * _CLIP)

  def test_the_bound_is_the_papers(self) -> None:
    codec = codec_lib.Codec(4096, 1.0, 8)
    gamma, size = codec.step, 4096
    likely = 1 + gamma**2 * size / 4 + np.sqrt(2 * np.log(1000)) * gamma * (1 + gamma * np.sqrt(size) / 2)
    self.assertAlmostEqual(codec.norm_bound, np.sqrt(likely), delta=gamma)
    tiny = codec_lib.Codec(1, 1.0, 2)
    self.assertAlmostEqual(tiny.norm_bound, 2.0)  # 1 + gamma * sqrt(1) with gamma = 1.

  @parameterized.parameters((1000, 8, 0.02), (5000, 8, 0.02), (5000, 16, 1e-4), (7, 16, 1e-3))
  def test_decodes_to_nearly_the_same(self, dimension: int, bits: int, error: float) -> None:
    codec = codec_lib.Codec(dimension, _CLIP, bits)
    for name in ('random', 'all equal', 'zeros'):
      vector = _hostile_vectors(dimension)[name]
      decoded = _decode(codec, _encode(codec, vector))
      self.assertLess(np.linalg.norm(decoded - vector), error * _CLIP, name)

  def test_rounding_is_unbiased(self) -> None:
    codec = codec_lib.Codec(500, _CLIP, 4)
    vector = _hostile_vectors(500)['random']
    draws = 400
    mean = np.mean([_decode(codec, _encode(codec, vector, seed)) for seed in range(draws)], axis=0)
    # One draw is off by at most half a step a coordinate (standard deviation); a mean of n by 1 / sqrt(n) of that.
    # 500 coordinates average out, so that a mean square beyond 1.5 of the expected has a chance below 1e-10.
    expected = codec.step**2 / 4 / draws * codec.encoded_size
    self.assertLess(np.sum((mean - vector) ** 2), 1.5 * expected)

  def test_sums_decode_to_sums(self) -> None:
    codec = codec_lib.Codec(300, _CLIP, 8)
    encoded = [_encode(codec, vector, seed) for seed, vector in enumerate(_hostile_vectors(300).values())]
    separately = np.sum([_decode(codec, levels) for levels in encoded], axis=0)
    np.testing.assert_allclose(_decode(codec, np.sum(encoded, axis=0)), separately, atol=1e-6)

  def test_the_grid_does_not_depend_on_the_data(self) -> None:
    codec = codec_lib.Codec(64, _CLIP, 8)
    for vector in _hostile_vectors(64).values():
      rotated = codec.decode(tf.constant(_encode(codec, vector)), _ROTATION_SEED)
      again = _encode(codec, rotated.numpy())
      # Already on the grid: only float32 can tip a coordinate over to the next level.
      self.assertLess(np.abs(again - _encode(codec, vector)).max(), 2)
      self.assertLess(np.mean(again != _encode(codec, vector)), 0.05)

  def test_other_seeds_give_other_roundings(self) -> None:
    codec = codec_lib.Codec(1000, _CLIP, 8)
    vector = _hostile_vectors(1000)['random']
    self.assertTrue(np.array_equal(_encode(codec, vector, 1), _encode(codec, vector, 1)))
    self.assertFalse(np.array_equal(_encode(codec, vector, 1), _encode(codec, vector, 2)))

  def test_is_the_same_compiled_by_xla(self) -> None:
    codec = codec_lib.Codec(2000, _CLIP, 8)
    vector = tf.constant(_hostile_vectors(2000)['random'])
    plain, compiled = (
      tf.function(codec.encode, jit_compile=jit)(vector, tf.constant(_ROTATION_SEED), tf.constant([1, 5])).numpy()
      for jit in (False, True)
    )
    # The order of float32 sums may tip single coordinates over.
    self.assertLess(np.mean(plain != compiled), 0.002)
    self.assertLess(np.abs(plain - compiled).max(), 2)

  def test_sizes(self) -> None:
    codec = codec_lib.Codec(21_362, _CLIP, 8)
    self.assertEqual((codec.block, codec.encoded_size, codec.encoded_bytes), (1024, 21_504, 21_504))
    self.assertEqual(codec_lib.Codec(21_362, _CLIP, 4).encoded_bytes, 10_752)
    self.assertEqual(codec_lib.Codec(5, _CLIP, 4).encoded_size, 8)

  @parameterized.parameters((0, 1.0, 8), (10, 0.0, 8), (10, np.inf, 8), (10, -1.0, 8), (10, 1.0, 1), (10, 1.0, 17))
  def test_refuses_what_it_cannot_do(self, dimension: int, clip_norm: float, bits: int) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected .* found'):
      codec_lib.Codec(dimension, clip_norm, bits)


if __name__ == '__main__':
  absltest.main()
