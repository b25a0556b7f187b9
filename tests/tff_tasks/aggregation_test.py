import collections
import dataclasses
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks import aggregation
from tff_tasks import privacy
from tff_tasks import seeds

_PLAIN = privacy.PrivacyPlan(population=100, clients_per_round=4, quantization_bits=0)
_CLIPPED = dataclasses.replace(_PLAIN, clip_norm=5.0)
_SEED = tf.constant([1, 2])
_SHAPES = ((3, 2), (4,))


def _noise_key(round_number: int, secret: tuple[int, int] = (2**63 + 5, 7)) -> aggregation.NoiseKey:
  return aggregation.NoiseKey(tf.constant(secret, tf.uint64), tf.constant(round_number))


def _mean(path: aggregation.UpdatePath, updates: list[list[np.ndarray]], round_number: int = 3) -> list[np.ndarray]:
  """Returns the mean of the updates, the way TFF composes the parts."""
  encoded = [
      path.encode([tf.constant(part, tf.float32) for part in update], _SEED, tf.constant([index, 9]))[0]
      for index, update in enumerate(updates)
  ]
  total = tf.nest.map_structure(lambda *parts: tf.add_n(parts), *encoded)
  return [part.numpy() for part in path.finish(total, _SEED, _noise_key(round_number))]


class ClipTest(parameterized.TestCase):
  def test_clips_by_hand(self) -> None:
    clipped, norm, is_finite = aggregation.clip([tf.constant([-6.0]), tf.constant([[8.0]])], 5.0)
    np.testing.assert_allclose(clipped[0], [-3.0], rtol=2e-5)
    np.testing.assert_allclose(clipped[1], [[4.0]], rtol=2e-5)
    self.assertEqual(norm, 10.0)
    self.assertTrue(is_finite)

  def test_leaves_short_vectors_alone(self) -> None:
    np.testing.assert_array_equal(aggregation.clip([tf.constant([3.0, 0.0])], 5.0)[0][0], [3.0, 0.0])
    np.testing.assert_array_equal(aggregation.clip([tf.constant([0.0, 0.0])], 5.0)[0][0], [0.0, 0.0])
    np.testing.assert_array_equal(aggregation.clip([tf.constant([30.0, 40.0])], None)[0][0], [30.0, 40.0])

  def test_never_exceeds_the_clip(self) -> None:
    for seed in range(200):
      vector = np.random.default_rng(seed).normal(size=1000).astype(np.float32) * 10.0 ** (seed % 30 - 10)
      clipped = aggregation.clip([tf.constant(vector)], 0.3)[0][0].numpy().astype(np.float64)
      self.assertLessEqual(np.linalg.norm(clipped), 0.3)

  @parameterized.product(use_xla=(True, False), large=(1, 64))
  def test_never_exceeds_the_clip_however_many_numbers(self, use_xla: bool, large: int) -> None:
    """Large numbers first, beside which a float32 sum would lose the millions that follow."""
    vector = np.full(20_000_000, 1e-4, np.float32)
    vector[:large] = 1.0
    clip = tf.function(lambda vector: aggregation.clip([vector], 0.3)[0][0], jit_compile=use_xla)
    norm = np.linalg.norm(clip(tf.constant(vector)).numpy().astype(np.float64))
    self.assertLessEqual(norm, 0.3)
    self.assertAlmostEqual(norm, 0.3, delta=1e-5)

  def test_what_is_not_finite_becomes_zero(self) -> None:
    for bad in (np.nan, np.inf, -np.inf, 3e38):
      clipped, norm, is_finite = aggregation.clip([tf.constant([bad, bad], tf.float32), tf.ones(3)], 5.0)
      np.testing.assert_array_equal(tf.concat(clipped, 0), np.zeros(5))
      self.assertEqual(norm, 0.0)
      self.assertFalse(is_finite)


class UpdatePathTest(parameterized.TestCase):
  def _updates(self, count: int) -> list[list[np.ndarray]]:
    stream = np.random.default_rng(0)
    return [[stream.normal(size=shape).astype(np.float32) for shape in _SHAPES] for _ in range(count)]

  @parameterized.parameters(0, 10, 1000)
  def test_is_the_mean(self, small: int) -> None:
    updates = self._updates(4)
    with mock.patch.object(aggregation, '_SMALL', small):
      mean = _mean(aggregation.UpdatePath(_PLAIN, _SHAPES), updates)
    for part, expected in zip(mean, [np.mean(parts, axis=0) for parts in zip(*updates, strict=True)], strict=True):
      np.testing.assert_allclose(part, expected, atol=1e-6)

  def test_divides_by_the_expected_clients_whoever_came(self) -> None:
    updates = self._updates(3)
    mean = _mean(aggregation.UpdatePath(_PLAIN, _SHAPES), updates)
    np.testing.assert_allclose(mean[0], np.sum([update[0] for update in updates], axis=0) / 4, atol=1e-6)

  def test_clips_the_whole_update_and_not_each_tensor(self) -> None:
    update = [np.full(shape, 100.0) for shape in _SHAPES]
    mean = _mean(aggregation.UpdatePath(_CLIPPED, _SHAPES), [update])
    self.assertAlmostEqual(np.sqrt(sum(np.sum(part**2) for part in mean)), 5.0 / 4, delta=1e-4)

  @parameterized.parameters((8, 0.03), (16, 1e-3))
  def test_quantized_is_nearly_the_same(self, bits: int, error: float) -> None:
    updates = self._updates(4)
    exact = _mean(aggregation.UpdatePath(_CLIPPED, _SHAPES), updates)
    quantized = dataclasses.replace(_CLIPPED, quantization_bits=bits)
    rounded = _mean(aggregation.UpdatePath(quantized, _SHAPES), updates)
    for one, other in zip(exact, rounded, strict=True):
      np.testing.assert_allclose(one, other, atol=error)

  def test_one_client_moves_the_sum_by_at_most_the_sensitivity(self) -> None:
    shapes, updates = ((40, 50),), [[np.random.default_rng(1).normal(size=(40, 50)) * 100]]
    for bits in (0, 4, 8):
      plan = dataclasses.replace(_CLIPPED, quantization_bits=bits)
      (moved,) = _mean(aggregation.UpdatePath(plan, shapes), updates)
      self.assertLessEqual(np.linalg.norm(4 * moved) * (1 - 1e-5), plan.norm_bound(2000))

  @parameterized.parameters(0, 4, 8)
  def test_noise_has_the_deviation_of_the_plan(self, bits: int) -> None:
    plan = dataclasses.replace(_CLIPPED, quantization_bits=bits, noise_multiplier=2.0, delta=1e-3)
    size = 200_000
    (noise,) = _mean(aggregation.UpdatePath(plan, ((size,),)), [[np.zeros(size)]])
    # The relative error of a deviation from n draws is 1 / sqrt(2 n) = 0.16 %; 1 % is six of those.
    self.assertAlmostEqual(np.std(noise) * 4 / plan.noise_stddev(size), 1.0, delta=0.01)
    self.assertAlmostEqual(np.mean(noise), 0.0, delta=6 * np.std(noise) / np.sqrt(size))

  def test_tensors_that_are_not_joined_get_the_same_noise(self) -> None:
    plan = dataclasses.replace(_CLIPPED, noise_multiplier=2.0, delta=1e-3)
    means = []
    for small in (0, 1000):
      with mock.patch.object(aggregation, '_SMALL', small):
        means.append(_mean(aggregation.UpdatePath(plan, _SHAPES), self._updates(4)))
    for one, other in zip(*means, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-6)

  def test_noise_differs_from_round_to_round(self) -> None:
    plan = dataclasses.replace(_CLIPPED, noise_multiplier=2.0, delta=1e-3)
    path, nothing = aggregation.UpdatePath(plan, _SHAPES), [[np.zeros(shape) for shape in _SHAPES]]
    np.testing.assert_array_equal(_mean(path, nothing, 1)[0], _mean(path, nothing, 1)[0])
    self.assertNotAlmostEqual(_mean(path, nothing, 1)[0][0, 0], _mean(path, nothing, 2)[0][0, 0])

  def test_a_client_without_numbers_does_no_harm_and_is_counted(self) -> None:
    path = aggregation.UpdatePath(dataclasses.replace(_CLIPPED, quantization_bits=8), _SHAPES)
    broken = [np.full(shape, np.nan) for shape in _SHAPES]
    encoded, norm, counted = path.encode([tf.constant(part, tf.float32) for part in broken], _SEED, _SEED)
    self.assertEqual(np.abs(encoded).max(), 0)
    self.assertEqual((norm, counted['rejected'], counted['clipped'], counted['clients']), (0.0, 1, 0, 1))

  def test_counts_who_was_clipped(self) -> None:
    path = aggregation.UpdatePath(_CLIPPED, _SHAPES)
    for scale, clipped in ((0.1, 0), (10.0, 1)):
      counted = path.encode([tf.fill(shape, scale) for shape in _SHAPES], _SEED, _SEED)[2]
      self.assertEqual((counted['clipped'], counted['rejected']), (clipped, 0))


class NoiseKeyTest(absltest.TestCase):
  _SIZE = 100_000

  def test_rounds_share_no_noise(self) -> None:
    draws = [_noise_key(round_number).normal(self._SIZE).numpy() for round_number in (0, 1, 2, 1_000_000)]
    correlations = np.corrcoef(draws)
    # Of independent draws a correlation deviates by 1 / sqrt(100,000) = 0.3 %; 2 % is six of those.
    np.testing.assert_allclose(correlations, np.eye(len(draws)), atol=0.02)
    # Nor does a stretch of one turn up elsewhere in another: triples of float32 do not meet by chance.
    triples = [set(zip(noise, noise[1:], noise[2:], strict=False)) for noise in draws]
    self.assertEmpty(set.intersection(triples[0], triples[1]))

  def test_every_bit_of_the_secret_counts(self) -> None:
    first = _noise_key(1, (5, 7)).normal(4)
    for bit in (0, 31, 32, 63):
      for secret in ((5 ^ 1 << bit, 7), (5, 7 ^ 1 << bit)):
        self.assertFalse(np.array_equal(first, _noise_key(1, secret).normal(4)), f'bit {bit} of {secret}')

  def test_is_standard_normal(self) -> None:
    noise = _noise_key(4).normal(self._SIZE).numpy()
    self.assertAlmostEqual(np.mean(noise), 0.0, delta=6 / np.sqrt(self._SIZE))
    self.assertAlmostEqual(np.std(noise), 1.0, delta=6 / np.sqrt(2 * self._SIZE))
    self.assertAlmostEqual(np.mean(np.abs(noise) < 1.96), 0.95, delta=0.005)


class BuildAggregatorTest(absltest.TestCase):
  def test_types(self) -> None:
    weights_type = tff.to_type([(np.float32, shape) for shape in _SHAPES])
    aggregator = aggregation.build_aggregator(weights_type, _CLIPPED, seeds.Seed.from_number(1))
    self.assertTrue(aggregator.is_weighted)
    mean_type = aggregator.next.type_signature.result.result.member
    self.assertEqual(mean_type.compact_representation(), '<float32[3,2],float32[4]>')
    self.assertEqual(list(collections.OrderedDict(tff.structure.iter_elements(
        aggregator.initialize.type_signature.result.member
    ))), ['round', 'rotation_seed', 'noise_secret'])  # fmt: skip


if __name__ == '__main__':
  absltest.main()
