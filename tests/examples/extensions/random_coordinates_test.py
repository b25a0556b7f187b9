"""Tests a compression that is outside of the packages, as a user would write it."""

import csv
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from examples.extensions import random_coordinates
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.compression import base

_NAME = 'examples.extensions.random_coordinates:RandomCoordinates'
_SEED = tf.constant([5, 6])


def _build(dimension: int, share: float) -> base.Encoding:
  return random_coordinates.RandomCoordinates(share).build(dimension, 0.3)


class RandomCoordinatesTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 1.0)
  def test_trains_on_both_runtimes_to_the_same_weights(self, noise_multiplier: float) -> None:
    folder = self.create_tempdir().full_path
    shards, weights = fakes.write_shards(os.path.join(folder, 'shards')), []
    for runtime in ('local', 'tff'):
      model, ledger = runs.train_and_load(
        shards,
        os.path.join(folder, runtime),
        runtime=runtime,
        compression=_NAME,
        compression_options=['share=0.5'],
        noise_multiplier=noise_multiplier,
        total_rounds=2,
        seed=1,
      )
      weights.append(model.weights)
      with open(os.path.join(folder, runtime, 'operator/metrics.csv'), newline='') as file:
        sent = [row['bytes_up_per_client'] for row in csv.DictReader(file)]
      size = sum(weight.size for weight in model.weights)
      self.assertEqual(sent, ['', *[str(-(-size // 2))] * 2])
    for ours, theirs in zip(*weights, strict=True):
      # A step of one client in one coordinate: a float at a boundary may be rounded to either side.
      np.testing.assert_allclose(ours, theirs, atol=2e-2)
    if noise_multiplier:
      self.assertIn('compressed by RandomCoordinates(share=0.5), Gaussian noise', ledger['mechanism'])
      self.assertAlmostEqual(ledger['sensitivity'], 0.1 / 0.3 * _build(size, 0.5).norm_bound)

  def test_no_encoded_vector_exceeds_the_bound(self) -> None:
    for dimension, share in ((1, 1.0), (50, 0.3), (2_000, 1.0)):
      encoding = _build(dimension, share)
      for vector in (np.eye(1, dimension)[0], np.ones(dimension), -np.ones(dimension)):
        clipped = tf.constant(0.3 * vector / np.linalg.norm(vector), tf.float32)
        levels = encoding.encode(clipped * (1 - 1e-5), _SEED, _SEED).numpy().astype(np.int64)
        self.assertLessEqual(np.sum(levels**2), encoding.max_squared_levels)
        self.assertLessEqual(np.abs(levels).max(), encoding.max_level)

  def test_is_the_same_with_xla(self) -> None:
    encoding, vector = _build(500, 0.5), tf.constant(np.linspace(-0.02, 0.02, 500), tf.float32)
    encoded = [tf.function(encoding.encode, jit_compile=use_xla)(vector, _SEED, _SEED) for use_xla in (False, True)]
    np.testing.assert_array_equal(*encoded)

  def test_is_right_on_average(self) -> None:
    """Fails by chance once in 100 million times for other seeds: six standard deviations."""
    encoding, vector = _build(20, 0.5), np.linspace(-0.06, 0.06, 20).astype(np.float32)
    seeds = [tf.constant([number, 1]) for number in range(400)]
    decoded = [encoding.decode(encoding.encode(tf.constant(vector), seed, seed), seed).numpy() for seed in seeds]
    deviation = np.std(decoded, axis=0) / np.sqrt(400)
    self.assertLess((np.abs(np.mean(decoded, axis=0) - vector) / deviation).max(), 6)

  @parameterized.parameters(0.0, 1.5)
  def test_refuses_shares_out_of_range(self, share: float) -> None:
    with self.assertRaisesRegex(ValueError, f'Expected 0 < share <= 1, found {share}: set it in --compression_options'):
      random_coordinates.RandomCoordinates(share)


if __name__ == '__main__':
  absltest.main()
