"""Tests that whatever is encoded on the fine grid stays within its bound, counted in whole numbers."""

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import tensorflow as tf

from tff_tasks.aggregation import private_mean
from tff_tasks.compression import fine_grid

_SEED = tf.constant([1, 2])
_FLOATS = strategies.floats(width=32, allow_nan=False, allow_infinity=False)


def _encode(grid: fine_grid.FineGrid, vector: np.ndarray) -> np.ndarray:
  return grid.encode(tf.constant(vector, tf.float32), _SEED, _SEED).numpy()


def _squared(levels: np.ndarray) -> int:
  return sum(level * level for level in levels.tolist())


class FineGridTest(parameterized.TestCase):
  @hypothesis.settings(deadline=None, max_examples=200)
  @hypothesis.given(
    vector=strategies.lists(_FLOATS, min_size=1, max_size=9), clip=strategies.floats(1e-6, 1e6), is_clipped=...
  )
  def test_no_encoded_vector_exceeds_the_bound(self, vector: list[float], clip: float, is_clipped: bool) -> None:
    grid, update = fine_grid.FineGrid(len(vector), clip), tf.constant(vector, tf.float32)
    levels = _encode(grid, private_mean.clip([update], clip)[0][0].numpy() if is_clipped else update.numpy())
    self.assertEqual(levels.dtype, np.int64)
    self.assertLessEqual(_squared(levels), grid.max_squared_levels)

  @parameterized.product(size=(1, 2, 1000, 70_000), clip=(0.3, 5.0))
  def test_what_was_clipped_is_never_thrown_away(self, size: int, clip: float) -> None:
    grid, stream = fine_grid.FineGrid(size, clip), np.random.default_rng(size)
    halves = np.full(size, 0.5 * grid.step)  # As far from the grid as can be, and rounded away from zero if odd.
    for vector in (stream.normal(size=size), np.eye(1, size)[0], np.ones(size), stream.normal(size=size) ** 9):
      clipped = private_mean.clip([tf.constant(1e3 * vector, tf.float32)], clip)[0][0].numpy()
      for moved in (clipped, clipped + np.sign(clipped) * halves * 1e-3):
        levels = _encode(grid, moved)
        self.assertGreater(_squared(levels), 0.99 * grid.max_squared_levels)
        self.assertLessEqual(_squared(levels), grid.max_squared_levels)

  @parameterized.parameters(1.01, 2.0, 1e30, np.inf, np.nan)
  def test_a_vector_that_was_not_clipped_becomes_nothing(self, factor: float) -> None:
    grid = fine_grid.FineGrid(100, 0.3)
    self.assertEqual(_squared(_encode(grid, np.full(100, 0.03 * factor))), 0)
    self.assertGreater(_squared(_encode(grid, np.full(100, 0.03 * 0.9999))), 0)

  def test_the_bound_is_close_to_the_clip(self) -> None:
    for size, factor in ((1, 1.000001), (7_000, 1.0001), (1_663_370, 1.001)):
      self.assertBetween(fine_grid.FineGrid(size, 0.3).norm_bound, 0.3, 0.3 * factor)

  def test_rounds_to_the_nearest_step(self) -> None:
    grid = fine_grid.FineGrid(5, 1.0)
    levels = _encode(grid, np.array([0.4, 0.6, -0.6, 3.4, -7.0]) * grid.step)
    self.assertEqual(levels.tolist(), [0, 1, -1, 3, -7])
    np.testing.assert_array_equal(grid.decode(tf.constant(levels), _SEED), levels * grid.step)

  def test_is_the_same_compiled_by_xla(self) -> None:
    grid, vector = fine_grid.FineGrid(2000, 1.0), np.random.default_rng(0).normal(size=2000) / 50
    encode = tf.function(grid.encode, jit_compile=True)
    np.testing.assert_array_equal(encode(tf.constant(vector, tf.float32), _SEED, _SEED), _encode(grid, vector))

  def test_sums_decode_exactly_beyond_float32(self) -> None:
    grid = fine_grid.FineGrid(2, 1.0)
    total = np.array([2**40 + 1, -(2**52) - 1])
    self.assertEqual((grid.decode(tf.constant(total), _SEED).numpy() / grid.step).tolist(), total.tolist())

  def test_sizes(self) -> None:
    grid = fine_grid.FineGrid(1001, 0.5)
    self.assertEqual((grid.encoded_size, grid.encoded_bytes, grid.step), (1001, 4004, 2.0**-21))


if __name__ == '__main__':
  absltest.main()
