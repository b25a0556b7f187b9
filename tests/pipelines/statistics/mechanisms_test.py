"""Tests of the noise and of what it promises. No two runs draw the same noise: chances of failing are given."""

import math
import statistics

from absl.testing import absltest
from absl.testing import parameterized
from dp_accounting.pld import privacy_loss_mechanism
import numpy as np

from pipelines.statistics import mechanisms

_PROMISES = ((1.0, 1e-5, 1), (1.0, 1e-5, 10), (4.0, 1e-6, 300), (0.1, 1e-9, 1000), (30.0, 1e-12, 7))


class NoiseTest(parameterized.TestCase):
  @parameterized.parameters(0.5, 40.0)
  def test_is_gaussian(self, stddev: float) -> None:
    count = 20_000
    noise = np.sort(mechanisms.add_noise(np.full(count, 7), stddev) - 7)
    expected = [statistics.NormalDist(0, stddev).cdf(value) for value in noise]
    # By the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart: fails at most once in a million times.
    bound = math.sqrt(math.log(2 / 1e-6) / (2 * count))
    self.assertLess(np.max(np.abs(np.arange(count) / count - expected)), bound)

  def test_is_of_the_deviation_that_was_asked_for(self) -> None:
    count = 20_000
    squares = np.sum((mechanisms.add_noise(np.zeros(count), 3.0) / 3.0) ** 2)
    # Five deviations of the sum, which is nearly normal: fails about once in a million times.
    self.assertAlmostEqual(squares, count, delta=5 * math.sqrt(2 * count))

  def test_is_drawn_anew(self) -> None:
    first, second = (mechanisms.add_noise(np.zeros(3), 1.0) for _ in range(2))
    self.assertLen({*first, *second}, 6)

  def test_its_last_bits_say_nothing(self) -> None:
    # Noisy values lie on one grid, whatever was added to: plain floating-point numbers around 0 would be finer.
    noisy = np.concatenate([mechanisms.add_noise(np.full(2000, value), 1.0) for value in (0.0, 1 / 3)])
    np.testing.assert_array_equal(noisy * 2.0**56, np.round(noisy * 2.0**56))


class CalibrationTest(parameterized.TestCase):
  @parameterized.parameters(*_PROMISES)
  def test_of_a_sum_is_exact(self, epsilon: float, delta: float, squared_sensitivity: int) -> None:
    sensitivity = math.sqrt(squared_sensitivity)
    stddev = mechanisms.calibrate_gaussian(epsilon, delta, sensitivity)
    self.assertLessEqual(mechanisms.gaussian_delta(epsilon, sensitivity / stddev), delta * (1 + 1e-9))
    self.assertGreater(mechanisms.gaussian_delta(epsilon, sensitivity / stddev / 0.999), delta)

  @parameterized.parameters((1.0, 0.5), (0.1, 0.01), (5.0, 0.7), (30.0, 3.0))
  def test_delta_is_what_the_accountant_says(self, epsilon: float, ratio: float) -> None:
    loss = privacy_loss_mechanism.GaussianPrivacyLoss(1 / ratio)
    self.assertAlmostEqual(mechanisms.gaussian_delta(epsilon, ratio) / loss.get_delta_for_epsilon(epsilon), 1, 6)

  def test_nothing_added_is_nothing_given_away(self) -> None:
    self.assertEqual(mechanisms.gaussian_delta(1.0, 0.0), 0.0)

  @parameterized.parameters((0.0, 1e-6), (-1.0, 1e-6), (math.nan, 1e-6), (101.0, 1e-6), (1.0, 0.0), (1.0, 1.0))
  def test_a_promise_says_something(self, epsilon: float, delta: float) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected 0 < (epsilon <= 100|delta < 1), found'):
      mechanisms.check_promise(epsilon, delta)


class SelectionTest(parameterized.TestCase):
  def _delta(self, epsilon: float, per_client: int, selection: mechanisms.Selection) -> float:
    """Returns the delta of the mechanism by Wilkins et al. 2024: over all numbers of words that only one client has."""
    own = np.arange(1, per_client + 1)
    one = math.erfc((selection.threshold - 1) / selection.stddev / math.sqrt(2)) / 2
    hidden, seen = np.exp(own * math.log1p(-one)), -np.expm1(own * math.log1p(-one))

    def delta(epsilons: np.ndarray) -> np.ndarray:
      ratios = np.sqrt(per_client - own) / selection.stddev
      return np.array([mechanisms.gaussian_delta(*pair) for pair in zip(epsilons, ratios, strict=True)])

    shared = mechanisms.gaussian_delta(epsilon, math.sqrt(per_client) / selection.stddev)
    with_client = seen + hidden * delta(epsilon - np.log(hidden))
    without_client = delta(epsilon + np.log(hidden))
    return max(shared, np.max(with_client), np.max(without_client))

  @parameterized.parameters(*_PROMISES)
  def test_keeps_its_promise_and_wastes_nothing(self, epsilon: float, delta: float, per_client: int) -> None:
    selection = mechanisms.calibrate_selection(epsilon, delta, per_client)
    self.assertLessEqual(self._delta(epsilon, per_client, selection), delta * (1 + 1e-6))
    lower = selection._replace(threshold=1 + 0.99 * (selection.threshold - 1))
    self.assertGreater(self._delta(epsilon, per_client, lower), delta)
    quieter = mechanisms.Selection(0.99 * selection.stddev, math.inf)
    self.assertGreater(self._delta(epsilon, per_client, quieter), delta)

  def test_whoever_has_some_words_alone_and_shares_others_is_safe_too(self) -> None:
    # Here a client with one word of its own decides the threshold, and not one whose words are all its own.
    epsilon, delta, per_client = 0.01, 0.1, 50
    stddev, threshold = mechanisms.calibrate_selection(epsilon, delta, per_client)
    hidden = statistics.NormalDist(1, stddev).cdf(threshold)
    deltas = [
      mechanisms.gaussian_delta(epsilon, math.sqrt(per_client - own) / stddev) + 1 - hidden**own
      for own in range(1, per_client + 1)
    ]
    self.assertAlmostEqual(max(deltas), delta, places=6)

  @parameterized.parameters(1, 4)
  def test_words_of_one_client_are_published_as_seldom_as_delta_says(self, per_client: int) -> None:
    delta, clients = 0.02, 10_000
    selection = mechanisms.calibrate_selection(1.0, delta, per_client)
    noisy = mechanisms.add_noise(np.ones(clients * per_client), selection.stddev).reshape(clients, per_client)
    found_out = np.count_nonzero((noisy > selection.threshold).any(axis=1))
    # All of a client's words are its own, and delta is all there is for them. Five deviations: fails about once in a
    # million times.
    self.assertAlmostEqual(found_out, clients * delta, delta=5 * math.sqrt(clients * delta))

  def test_outcomes_of_neighbors_are_as_alike_as_promised(self) -> None:
    epsilon, delta, trials = 1.0, 0.01, 100_000
    selection = mechanisms.calibrate_selection(epsilon, delta, 1)
    edges = [-math.inf, *np.linspace(selection.threshold, selection.threshold + 12, 40), math.inf]
    votes = round(selection.threshold)
    shares = [
      np.histogram(mechanisms.add_noise(np.full(trials, count), selection.stddev), edges)[0] / trials
      for count in (votes, votes + 1)
    ]
    for one, other in (shares, shares[::-1]):
      excess = one - math.exp(epsilon) * other
      # Its mean is 0.0101 or less, the noise of the bins included, and its deviation below 0.0013: fails less than once
      # in a million times.
      self.assertLess(np.sum(excess[excess > 0]), delta + 0.01)


if __name__ == '__main__':
  absltest.main()
