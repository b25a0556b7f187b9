import collections
import dataclasses
from typing import Any, NamedTuple
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import attacks
from tff_tasks.aggregation import private_mean
from tff_tasks.aggregation import round_noise
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib

_PLAIN = plan_lib.PrivacyPlan(population=100, clients_per_round=4, quantization_bits=0)
_CLIPPED = dataclasses.replace(_PLAIN, clip_norm=5.0)
_NOISED = dataclasses.replace(_CLIPPED, noise_multiplier=2.0, delta=1e-3)
_SEED, _ONE = tf.constant([1, 2]), tf.constant(1.0)
_SECRET = seeds.Seed.from_number(1)
_SHAPES = ((3, 2), (4,))


class _State(NamedTuple):
  aggregator: dict[str, Any]


def _noise(plan: plan_lib.PrivacyPlan, dimension: int, round_number: int = 3) -> np.ndarray | None:
  """Returns the noise that the host draws for a round; None if the plan has none."""
  state = _State({'round': np.int32(round_number - 1)})
  return round_noise.RoundNoise(plan, dimension, _SECRET).add(round_number, state).aggregator.get('noise')


def _mean(path: private_mean.UpdatePath, updates: list[list[np.ndarray]], round_number: int = 3) -> list[np.ndarray]:
  """Returns the mean of the updates, the way TFF composes the parts."""
  encoded = [
    path.encode([tf.constant(part, tf.float32) for part in update], _ONE, _SEED, tf.constant([index, 9])).sent
    for index, update in enumerate(updates)
  ]
  total = tf.nest.map_structure(lambda *parts: tf.add_n(parts), *encoded)
  return [part.numpy() for part in path.finish(total, _SEED, _noise(path.plan, sum(path.sizes), round_number))]


class ClipTest(parameterized.TestCase):
  def test_clips_by_hand(self) -> None:
    clipped, norm, is_finite = private_mean.clip([tf.constant([-6.0]), tf.constant([[8.0]])], 5.0)
    np.testing.assert_allclose(clipped[0], [-3.0], rtol=2e-5)
    np.testing.assert_allclose(clipped[1], [[4.0]], rtol=2e-5)
    self.assertEqual(norm, 10.0)
    self.assertTrue(is_finite)

  def test_leaves_short_vectors_alone(self) -> None:
    np.testing.assert_array_equal(private_mean.clip([tf.constant([3.0, 0.0])], 5.0)[0][0], [3.0, 0.0])
    np.testing.assert_array_equal(private_mean.clip([tf.constant([0.0, 0.0])], 5.0)[0][0], [0.0, 0.0])
    np.testing.assert_array_equal(private_mean.clip([tf.constant([30.0, 40.0])], None)[0][0], [30.0, 40.0])

  def test_never_exceeds_the_clip(self) -> None:
    for seed in range(200):
      vector = np.random.default_rng(seed).normal(size=1000).astype(np.float32) * 10.0 ** (seed % 30 - 10)
      clipped = private_mean.clip([tf.constant(vector)], 0.3)[0][0].numpy().astype(np.float64)
      self.assertLessEqual(np.linalg.norm(clipped), 0.3)

  @parameterized.product(use_xla=(True, False), large=(1, 64))
  def test_never_exceeds_the_clip_however_many_numbers(self, use_xla: bool, large: int) -> None:
    """Large numbers first, beside which a float32 sum would lose the millions that follow."""
    vector = np.full(20_000_000, 1e-4, np.float32)
    vector[:large] = 1.0
    clip = tf.function(lambda vector: private_mean.clip([vector], 0.3)[0][0], jit_compile=use_xla)
    norm = np.linalg.norm(clip(tf.constant(vector)).numpy().astype(np.float64))
    self.assertLessEqual(norm, 0.3)
    self.assertAlmostEqual(norm, 0.3, delta=1e-5)

  def test_what_is_not_finite_becomes_zero(self) -> None:
    for bad in (np.nan, np.inf, -np.inf, 3e38):
      clipped, norm, is_finite = private_mean.clip([tf.constant([bad, bad], tf.float32), tf.ones(3)], 5.0)
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
    with mock.patch.object(private_mean, '_SMALL', small):
      mean = _mean(private_mean.UpdatePath(_PLAIN, _SHAPES), updates)
    for part, expected in zip(mean, [np.mean(parts, axis=0) for parts in zip(*updates, strict=True)], strict=True):
      np.testing.assert_allclose(part, expected, atol=1e-6)

  def test_divides_by_the_expected_clients_whoever_came(self) -> None:
    updates = self._updates(3)
    mean = _mean(private_mean.UpdatePath(_PLAIN, _SHAPES), updates)
    np.testing.assert_allclose(mean[0], np.sum([update[0] for update in updates], axis=0) / 4, atol=1e-6)

  def test_clips_the_whole_update_and_not_each_tensor(self) -> None:
    update = [np.full(shape, 100.0) for shape in _SHAPES]
    mean = _mean(private_mean.UpdatePath(_CLIPPED, _SHAPES), [update])
    self.assertAlmostEqual(np.sqrt(sum(np.sum(part**2) for part in mean)), 5.0 / 4, delta=1e-4)

  def test_a_fine_grid_changes_next_to_nothing(self) -> None:
    updates, plan = self._updates(4), dataclasses.replace(_NOISED, noise_multiplier=1e-9)
    exact, rounded = (_mean(private_mean.UpdatePath(one, _SHAPES), updates) for one in (_CLIPPED, plan))
    for one, other in zip(exact, rounded, strict=True):
      np.testing.assert_allclose(one, other, atol=5e-6)

  @parameterized.parameters((8, 0.03), (16, 1e-3))
  def test_quantized_is_nearly_the_same(self, bits: int, error: float) -> None:
    updates = self._updates(4)
    exact = _mean(private_mean.UpdatePath(_CLIPPED, _SHAPES), updates)
    quantized = dataclasses.replace(_CLIPPED, quantization_bits=bits)
    rounded = _mean(private_mean.UpdatePath(quantized, _SHAPES), updates)
    for one, other in zip(exact, rounded, strict=True):
      np.testing.assert_allclose(one, other, atol=error)

  def test_one_client_moves_the_sum_by_at_most_the_sensitivity(self) -> None:
    shapes, updates = ((40, 50),), [[np.random.default_rng(1).normal(size=(40, 50)) * 100]]
    for bits in (0, 4, 8):
      plan = dataclasses.replace(_CLIPPED, quantization_bits=bits)
      (moved,) = _mean(private_mean.UpdatePath(plan, shapes), updates)
      self.assertLessEqual(np.linalg.norm(4 * moved) * (1 - 1e-5), plan.norm_bound(2000))

  @parameterized.parameters(0, 4, 8)
  def test_noise_has_the_deviation_of_the_plan(self, bits: int) -> None:
    plan = dataclasses.replace(_CLIPPED, quantization_bits=bits, noise_multiplier=2.0, delta=1e-3)
    size = 200_000
    (noise,) = _mean(private_mean.UpdatePath(plan, ((size,),)), [[np.zeros(size)]])
    # The relative error of a deviation from n draws is 1 / sqrt(2 n) = 0.16 %; 1 % is six of those.
    self.assertAlmostEqual(np.std(noise) * 4 / plan.noise_stddev(size), 1.0, delta=0.01)
    self.assertAlmostEqual(np.mean(noise), 0.0, delta=6 * np.std(noise) / np.sqrt(size))

  def test_tensors_that_are_not_joined_get_the_same_noise(self) -> None:
    plan = dataclasses.replace(_CLIPPED, noise_multiplier=2.0, delta=1e-3)
    means = []
    for small in (0, 1000):
      with mock.patch.object(private_mean, '_SMALL', small):
        means.append(_mean(private_mean.UpdatePath(plan, _SHAPES), self._updates(4)))
    for one, other in zip(*means, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-6)

  def test_noise_differs_from_round_to_round(self) -> None:
    plan = dataclasses.replace(_CLIPPED, noise_multiplier=2.0, delta=1e-3)
    path, nothing = private_mean.UpdatePath(plan, _SHAPES), [[np.zeros(shape) for shape in _SHAPES]]
    np.testing.assert_array_equal(_mean(path, nothing, 1)[0], _mean(path, nothing, 1)[0])
    self.assertNotAlmostEqual(_mean(path, nothing, 1)[0][0, 0], _mean(path, nothing, 2)[0][0, 0])

  def test_a_client_without_numbers_does_no_harm_and_is_counted(self) -> None:
    path = private_mean.UpdatePath(dataclasses.replace(_CLIPPED, quantization_bits=8), _SHAPES)
    broken = [np.full(shape, np.nan) for shape in _SHAPES]
    encoded = path.encode([tf.constant(part, tf.float32) for part in broken], _ONE, _SEED, _SEED)
    self.assertEqual(np.abs(encoded.sent[0]).max(), 0)
    self.assertEqual((encoded.norm, bool(encoded.is_finite)), (0.0, False))

  def test_reports_the_norm_before_clipping(self) -> None:
    path = private_mean.UpdatePath(_CLIPPED, _SHAPES)
    for scale in (0.1, 10.0):
      encoded = path.encode([tf.fill(shape, scale) for shape in _SHAPES], _ONE, _SEED, _SEED)
      self.assertAlmostEqual(float(encoded.norm), scale * np.sqrt(10), delta=1e-4)
      self.assertTrue(encoded.is_finite)

  @parameterized.parameters(0, 16)
  def test_weights_count_by_examples_and_nobody_gives_nothing(self, bits: int) -> None:
    plan = dataclasses.replace(_CLIPPED, quantization_bits=bits, weighting='examples')
    path, updates, weights = private_mean.UpdatePath(plan, _SHAPES), self._updates(3), [1.0, 5.0, 2.0]
    sent = [
      path.encode(list(map(tf.constant, update)), tf.constant(weight), _SEED, tf.constant([client, 9])).sent
      for client, (update, weight) in enumerate(zip(updates, weights, strict=True))
    ]
    sums = tf.nest.map_structure(lambda *parts: tf.add_n(parts), *sent)
    for found, parts in zip(path.finish(sums, _SEED), zip(*updates, strict=True), strict=True):
      np.testing.assert_allclose(found, np.average(parts, axis=0, weights=weights), atol=2e-3)
    for found in path.finish(tf.nest.map_structure(tf.zeros_like, sums), _SEED):
      np.testing.assert_array_equal(found, np.zeros_like(found))

  def test_a_client_without_numbers_has_no_weight(self) -> None:
    path = private_mean.UpdatePath(dataclasses.replace(_CLIPPED, weighting='examples'), _SHAPES)
    encoded = path.encode([tf.fill(shape, np.nan) for shape in _SHAPES], tf.constant(7.0), _SEED, _SEED)
    self.assertEqual(encoded.sent[1], 0.0)


class SumsTest(parameterized.TestCase):
  @parameterized.parameters(0, 8)
  def test_without_the_noise_of_the_plan_there_is_no_mean(self, bits: int) -> None:
    path = private_mean.UpdatePath(dataclasses.replace(_NOISED, quantization_bits=bits), _SHAPES)
    total = path.encode([tf.ones(shape) for shape in _SHAPES], _ONE, _SEED, _SEED).sent
    with self.assertRaisesRegex(ValueError, 'Expected noise if and only if'):
      path.finish(total, _SEED, None)
    for wrong in ([], [1], np.arange(total[0].shape[0] - 1)):
      with self.assertRaisesRegex((ValueError, tf.errors.InvalidArgumentError), 'hape'):
        path.finish(total, _SEED, tf.constant(wrong, tf.int64))

  @parameterized.parameters(0, 16)
  def test_sums_beyond_float32_are_exact(self, bits: int) -> None:
    """A step more in one coordinate is a step more in the mean, however large the sum."""
    plan = dataclasses.replace(_NOISED, quantization_bits=bits, clients_per_round=1)
    path = private_mean.UpdatePath(plan, ((8,),))
    codec = path.codec
    assert codec is not None
    means = []
    for more in (0, 1):
      total = tf.constant([2**30 + more, *[0] * (codec.encoded_size - 1)], tf.int64)
      means.append(codec.decode(total, _SEED).numpy())
    self.assertAlmostEqual(np.linalg.norm(means[1] - means[0]), codec.step, delta=codec.step * 1e-5)


class AttackTest(parameterized.TestCase):
  """An attacker who knows the sum of all others and the client's update, and sees one released mean."""

  _SIZE, _TRIALS = 20_000, 100

  @parameterized.parameters(0, 8)
  def test_nobody_can_tell_better_than_the_noise_allows_whether_a_client_took_part(self, bits: int) -> None:
    """Fails by chance about once in 10,000 times for another secret; a right guess each time is what fails.

    The best guess is right with probability Phi(1 / 2 z), 0.61 for z = 1.755: of 100 guesses 61, and 5 a deviation.
    """
    plan = plan_lib.PrivacyPlan(927, 220, clip_norm=0.3, quantization_bits=bits, noise_multiplier=1.755, delta=1e-4)
    path, stream = private_mean.UpdatePath(plan, ((self._SIZE,),)), np.random.default_rng(0)
    updates = [scale * stream.normal(size=self._SIZE) for scale in (1e-3,) * 5 + (1.0,)]
    encoded = [
      path.encode([tf.constant(update, tf.float32)], _ONE, _SEED, tf.constant([client, 3])).sent[0]
      for client, update in enumerate(updates)
    ]
    sums = [tf.add_n(encoded[:-1]), tf.add_n(encoded)]
    assert path.codec is not None
    known = [path.codec.decode(total, _SEED).numpy() for total in sums]
    guesses = []
    for trial in range(self._TRIALS):
      (mean,) = path.finish((sums[trial % 2],), _SEED, _noise(plan, self._SIZE, trial + 1))
      leftover = [(220 * mean.numpy().astype(float) - one) / plan.noise_stddev(self._SIZE) for one in known]
      guesses.append([attacks.by_grid(*leftover), attacks.by_likelihood(*leftover), attacks.by_fraction(*leftover)])
    right = np.sum(np.array(guesses) == (np.arange(self._TRIALS) % 2)[:, np.newaxis], axis=0)
    self.assertLessEqual(right.max(), 61 + 4 * 5, right)
    # The attack that knows what it is doing is about as good as it can be.
    self.assertGreaterEqual(right[1], 61 - 4 * 5)


class BuildAggregatorTest(absltest.TestCase):
  def test_types(self) -> None:
    weights_type = tff.to_type([(np.float32, shape) for shape in _SHAPES])
    aggregator = private_mean.build_aggregator(weights_type, _CLIPPED, seeds.Seed.from_number(1))
    names = [name for name, _ in tff.structure.iter_elements(aggregator.next.type_signature.parameter)]
    self.assertEqual(names, ['state', 'update', 'weight', 'tag'])
    mean_type = aggregator.next.type_signature.result.result.member
    self.assertEqual(mean_type.compact_representation(), '<float32[3,2],float32[4]>')
    self.assertEqual(
      list(collections.OrderedDict(tff.structure.iter_elements(aggregator.initialize.type_signature.result.member))),
      ['round', 'rotation_seed'],
    )

  def test_the_state_has_no_secret_and_noise_only_for_the_round_that_comes(self) -> None:
    weights_type = tff.to_type([(np.float32, shape) for shape in _SHAPES])
    for bits in (0, 8):
      plan = dataclasses.replace(_NOISED, quantization_bits=bits)
      aggregator = private_mean.build_aggregator(weights_type, plan, _SECRET)
      for state_type in (aggregator.initialize.type_signature.result, aggregator.next.type_signature.result.state):
        self.assertEqual(
          state_type.member.compact_representation(), '<round=int32,rotation_seed=int32[2],noise=int64[?]>'
        )


if __name__ == '__main__':
  absltest.main()
