import dataclasses
import math
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
from dp_accounting import pld
from dp_accounting import rdp
import numpy as np

from tff_tasks import learned
from tff_tasks import privacy
from tff_tasks import quantization

_PLAN = privacy.PrivacyPlan(
    population=932, clients_per_round=250, clip_norm=0.3, quantization_bits=8, noise_multiplier=2.08, delta=1e-4
)

_gaussian = pld.privacy_loss_distribution.from_gaussian_mechanism


def _hockey_stick(probability: float, noise: float, rounds: int, epsilon: float) -> float:
  """Returns delta at epsilon of the Poisson-sampled Gaussian mechanism, both directions, by direct convolution.

  Independent of dp-accounting: the privacy loss of one round is put on a fine grid and convolved.
  """
  step, reach = 1e-4, 40.0
  size = round(2 * reach / step)

  def delta(upper_mixture: bool) -> float:
    edges = np.linspace(-12 * noise - 2, 12 * noise + 2, 2_000_001)
    centers = (edges[1:] + edges[:-1]) / 2
    base = np.exp(-(centers**2) / (2 * noise**2))
    shifted = np.exp(-((centers - 1) ** 2) / (2 * noise**2))
    mixture = (1 - probability) * base + probability * shifted
    first, second = (mixture, base) if upper_mixture else (base, mixture)
    loss = np.log(first) - np.log(second)
    mass = first / first.sum()
    bins = np.clip(np.rint(loss / step).astype(int) + size // 2, 0, size - 1)
    one = np.bincount(bins, mass, size)
    # Circular convolution on the centred grid, by powers of its Fourier transform.
    spectrum = np.fft.rfft(np.roll(one, -(size // 2)))
    total = np.roll(np.fft.irfft(spectrum**rounds, size), size // 2)
    losses = (np.arange(size) - size // 2) * step
    above = losses > epsilon
    return float(np.sum(total[above] * -np.expm1(epsilon - losses[above])))

  return max(delta(upper_mixture=True), delta(upper_mixture=False))


def _epsilon(plan: privacy.PrivacyPlan, rounds: int) -> float:
  epsilon = plan.epsilon(rounds)
  assert epsilon is not None
  return epsilon


class PrivacyPlanTest(parameterized.TestCase):
  @parameterized.parameters((2.08, 140, 250), (1.0, 100, 100), (4.0, 10, 900))
  def test_epsilon_is_that_of_an_independent_computation(self, noise: float, rounds: int, clients: int) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=noise, clients_per_round=clients)
    epsilon = _epsilon(plan, rounds)
    # Delta falls by a factor of e with about each unit of epsilon: bracketed to half a percent of epsilon.
    self.assertLessEqual(_hockey_stick(clients / 932, noise, rounds, epsilon), 1.002e-4)
    self.assertGreater(_hockey_stick(clients / 932, noise, rounds, 0.995 * epsilon), 0.98e-4)

  def test_epsilon_of_fixed_cohorts_counts_the_replaced_client_twice(self) -> None:
    plan = dataclasses.replace(_PLAN, sampling='fixed', clients_per_round=932)
    # Everyone takes part: a Gaussian of sensitivity twice the bound; closed form of Balle and Wang 2018, theorem 8.
    mu = 2 * math.sqrt(50) / 2.08
    phi = lambda value: 0.5 * math.erfc(-value / math.sqrt(2))  # noqa: E731
    exact = lambda epsilon: phi(mu / 2 - epsilon / mu) - math.exp(epsilon) * phi(-mu / 2 - epsilon / mu)  # noqa: E731
    epsilon = _epsilon(plan, 50)
    self.assertLess(exact(epsilon), 1e-4)
    self.assertGreater(exact(0.9 * epsilon), 1e-4)  # Renyi accounting gives away a little.

  @parameterized.parameters(('poisson', 1), ('poisson', 140), ('fixed', 1), ('fixed', 140))
  def test_epsilon_is_that_of_an_accountant_for_all_rounds(self, sampling: str, rounds: int) -> None:
    plan = dataclasses.replace(_PLAN, sampling=sampling)
    accountant: dp_accounting.PrivacyAccountant = pld.PLDAccountant(value_discretization_interval=1e-3)
    if sampling == 'fixed':
      accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    accountant.compose(dp_accounting.SelfComposedDpEvent(plan.event, rounds))
    self.assertAlmostEqual(_epsilon(plan, rounds), accountant.get_epsilon(1e-4), places=9)

  @parameterized.parameters('poisson', 'fixed')
  def test_what_a_round_costs_is_worked_out_once(self, sampling: str) -> None:
    plan = dataclasses.replace(_PLAN, sampling=sampling, noise_multiplier=1.9)
    with (
        mock.patch.object(pld.privacy_loss_distribution, 'from_gaussian_mechanism', side_effect=_gaussian) as poisson,
        mock.patch.object(rdp, 'RdpAccountant', side_effect=rdp.RdpAccountant) as fixed,
    ):
      for rounds in (1, 10, 20):
        plan.epsilon(rounds)
    self.assertEqual(poisson.call_count + fixed.call_count, 1)

  def test_fixed_cohorts_cost_more(self) -> None:
    fixed = dataclasses.replace(_PLAN, sampling='fixed')
    self.assertGreater(_epsilon(fixed, 140), 1.5 * _epsilon(_PLAN, 140))

  def test_epsilon_grows_with_rounds(self) -> None:
    spent = [_epsilon(_PLAN, rounds) for rounds in (0, 1, 10, 140)]
    self.assertEqual(spent[0], 0.0)
    self.assertEqual(spent, sorted(spent))
    self.assertIsNone(dataclasses.replace(_PLAN, noise_multiplier=0.0).epsilon(10))

  @parameterized.parameters('poisson', 'fixed')
  def test_calibration_meets_the_target_and_no_more(self, sampling: str) -> None:
    plan = dataclasses.replace(_PLAN, sampling=sampling).calibrated(7.0, 40)
    self.assertLessEqual(plan.epsilon(40), 7.0)
    less = dataclasses.replace(plan, noise_multiplier=plan.noise_multiplier - 0.001)
    self.assertGreater(less.epsilon(40), 7.0)

  def test_calibration_says_when_it_cannot(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a target_epsilon'):
      _PLAN.calibrated(1e-5, 1000)

  def test_noise_is_for_the_bound_after_rounding(self) -> None:
    plan = dataclasses.replace(_PLAN, quantization_bits=4)
    bound = quantization.Codec(20_000, 0.3, 4).norm_bound
    self.assertGreater(bound, 1.03 * 0.3)
    self.assertEqual(plan.norm_bound(20_000), bound)
    self.assertEqual(plan.noise_stddev(20_000), 2.08 * bound)
    exact = dataclasses.replace(_PLAN, quantization_bits=0)
    self.assertAlmostEqual(exact.noise_stddev(20_000), 2.08 * 0.3)
    self.assertEqual(exact.update_bytes(1000), 4000)
    self.assertEqual(plan.update_bytes(1024), 512)

  @parameterized.named_parameters(
      ('sampling', {'sampling': 'shuffled'}, 'Expected sampling'),
      ('nobody', {'population': 0}, 'Expected training clients'),
      ('no_clients', {'clients_per_round': 0}, 'Expected 1 to 932'),
      ('too_many_clients', {'clients_per_round': 933}, 'Expected 1 to 932'),
      ('noise_without_clip', {'clip_norm': None, 'quantization_bits': 0}, 'Expected a clip_norm'),
      ('bits_without_clip', {'clip_norm': None, 'noise_multiplier': 0.0}, 'Expected a clip_norm'),
      ('clip', {'clip_norm': 0.0}, 'clip_norm > 0'),
      ('clip_without_bits', {'clip_norm': -1.0, 'quantization_bits': 0}, 'clip_norm > 0'),
      ('bits', {'quantization_bits': 17}, 'quantization_bits'),
      ('negative_noise', {'noise_multiplier': -1.0}, 'noise_multiplier'),
      ('no_delta', {'delta': None}, 'Expected 0 < delta'),
      ('delta_of_one_user', {'delta': 1 / 932}, 'Expected 0 < delta'),
      ('overflow', {'population': 2**20, 'quantization_bits': 16, 'delta': 1e-8}, 'fit 32 bits'),
  )
  def test_refuses_what_would_not_be_accounted_for(self, change: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(_PLAN, **change)

  def test_little_noise_is_accounted_for_in_time_and_not_too_low(self) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=0.1)
    started = time.process_time()
    epsilon = _epsilon(plan, 1)
    self.assertLess(time.process_time() - started, 20)
    # At least what a grid of a hundredth the width finds, and not more than one cell beyond it.
    with mock.patch.object(privacy, '_PLD_INTERVAL', 1e-5):
      finer = _epsilon(dataclasses.replace(plan, delta=1.00000001e-4), 1)
    self.assertBetween(epsilon, finer, finer + 0.1)

  def test_sensitivity_is_that_of_the_adjacency(self) -> None:
    bound = _PLAN.norm_bound(1000)
    self.assertEqual(_PLAN.sensitivity(1000), bound)
    assert bound is not None
    self.assertEqual(dataclasses.replace(_PLAN, sampling='fixed').sensitivity(1000), 2 * bound)

  def test_needs_no_clip_without_noise_and_rounding(self) -> None:
    plan = privacy.PrivacyPlan(population=10, clients_per_round=2, quantization_bits=0)
    self.assertIsNone(plan.norm_bound(5))
    self.assertEqual(plan.noise_stddev(5), 0.0)


class LearnedTest(parameterized.TestCase):
  _SPENT = learned.Cost(2.0, 4e-5)

  def test_is_spent_before_the_first_round(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=self._SPENT)
    self.assertEqual((plan.epsilon(0), plan.training_epsilon(0)), (2.0, 0.0))
    alone = dataclasses.replace(_PLAN, delta=plan.training_delta)
    self.assertAlmostEqual(plan.epsilon(7), 2.0 + _epsilon(alone, 7), places=12)
    self.assertGreater(plan.training_epsilon(7), _epsilon(_PLAN, 7))

  def test_the_target_is_for_all_of_it(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=self._SPENT).calibrated(5.0, 20)
    self.assertBetween(plan.epsilon(20), 4.9, 5.0)
    self.assertBetween(plan.training_epsilon(20), 2.9, 3.0)

  @parameterized.parameters(1.0, 2.0)
  def test_a_target_that_the_data_set_has_spent(self, target: float) -> None:
    with self.assertRaisesRegex(ValueError, f'above 2, which the data set alone has spent, found {target:g}'):
      dataclasses.replace(_PLAN, learned=self._SPENT).calibrated(target, 20)

  def test_a_delta_that_the_data_set_has_spent(self) -> None:
    spent = learned.Cost(1.0, _PLAN.delta or 0.0)
    with self.assertRaisesRegex(ValueError, 'Expected a delta above 0.0001, which the data set alone has spent'):
      dataclasses.replace(_PLAN, learned=spent)

  def test_without_noise_there_is_no_promise(self) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=0.0, learned=self._SPENT)
    self.assertEqual((plan.epsilon(3), plan.training_epsilon(3), plan.training_delta), (None, None, None))


if __name__ == '__main__':
  absltest.main()
