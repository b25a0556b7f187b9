"""Tests that epsilon is what independent computations give: direct convolution, and formulas of the Gaussian."""

from collections.abc import Callable, Sequence
import math
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
from dp_accounting import pld
import numpy as np
import psutil
from scipy import optimize
from scipy import special

from contracts import guarantees
from tff_tasks.privacy import accountant

_gaussian = pld.privacy_loss_distribution.from_gaussian_mechanism
_STEP, _REACH = 2e-4, 60.0
_SIZE = round(2 * _REACH / _STEP)


def _losses(kind: accountant.Round, is_present: bool) -> np.ndarray:
  """Returns the distribution of the privacy loss of a round on a centred grid; independent of dp-accounting.

  `is_present`: whether outputs are drawn with the client's data or with it replaced by none.
  """
  noise, probability = kind.noise_multiplier, kind.probability
  secret = probability if kind.sampling == 'poisson' else 1.0
  edges = np.linspace(-12 * noise - 2, 12 * noise + 2, 500_001)
  centers = (edges[1:] + edges[:-1]) / 2
  base = np.exp(-(centers**2) / (2 * noise**2))
  mixture = (1 - secret) * base + secret * np.exp(-((centers - 1) ** 2) / (2 * noise**2))
  first, second = (mixture, base) if is_present else (base, mixture)
  places = np.rint((np.log(first) - np.log(second)) / _STEP).astype(int) + _SIZE // 2
  one = np.bincount(np.clip(places, 0, _SIZE - 1), first / first.sum(), _SIZE).astype(np.float64)
  if kind.sampling == 'fixed':  # Who takes part is known: without the client, nothing is lost.
    one = probability * one
    one[_SIZE // 2] += 1 - probability
  return one


def _delta(rounds: Sequence[tuple[accountant.Round, int]], epsilon: float) -> float:
  """Returns delta at epsilon of all rounds, in both directions, by direct convolution."""

  def of_direction(is_present: bool) -> float:
    spectrum = np.ones(_SIZE // 2 + 1, complex)
    for kind, number in rounds:
      spectrum *= np.fft.rfft(np.roll(_losses(kind, is_present), -(_SIZE // 2))) ** number
    total = np.roll(np.fft.irfft(spectrum, _SIZE), _SIZE // 2)
    losses = (np.arange(_SIZE) - _SIZE // 2) * _STEP
    above = losses > epsilon
    return float(np.sum(total[above] * -np.expm1(epsilon - losses[above])))

  return max(of_direction(True), of_direction(False))


def _gaussian_delta(epsilon: float, mu: float) -> float:
  """Returns delta at epsilon of a Gaussian of sensitivity mu times its deviation (Balle and Wang 2018, theorem 8)."""
  far = special.log_ndtr(-mu / 2 - epsilon / mu)
  return float(special.ndtr(mu / 2 - epsilon / mu) - np.exp(epsilon + far))


def _root(delta_of: Callable[[float], float], delta: float) -> float:
  return float(optimize.brentq(lambda epsilon: delta_of(epsilon) - delta, 1e-3, 200.0, xtol=1e-10))


_QUICKSTART = accountant.Round('poisson', 220 / 928, 1.757)


class EpsilonTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('quickstart', [(_QUICKSTART, 120)]),
    ('one_round', [(accountant.Round('poisson', 0.1, 1.0), 1)]),
    ('everyone', [(accountant.Round('poisson', 0.97, 4.0), 10)]),
    ('fixed', [(accountant.Round('fixed', 0.2, 2.0), 40)]),
    ('two_plans', [(accountant.Round('poisson', 0.25, 2.0), 30), (accountant.Round('poisson', 0.1, 1.2), 20)]),
    ('two_samplings', [(_QUICKSTART, 60), (accountant.Round('fixed', 0.3, 3.0), 40)]),
    ('little_noise_first', [(accountant.Round('poisson', 0.001, 0.5), 5), (_QUICKSTART, 60)]),
  )
  def test_is_that_of_a_direct_convolution(self, rounds: list[tuple[accountant.Round, int]]) -> None:
    epsilon = accountant.epsilon(rounds, 1e-4)
    # Delta falls by a factor of e with about each unit of epsilon: bracketed to half a percent of epsilon.
    self.assertLessEqual(_delta(rounds, epsilon), 1.002e-4)
    self.assertGreater(_delta(rounds, 0.995 * epsilon), 0.98e-4)

  def test_the_quickstart_costs_what_it_did(self) -> None:
    self.assertAlmostEqual(accountant.epsilon([(_QUICKSTART, 120)], 1e-4), 6.9993, places=4)

  def test_zero_out_costs_what_adding_or_removing_a_client_does(self) -> None:
    """The sum loses one client's term in both relations, and the coins of the others do not change."""
    added = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-3)
    event = dp_accounting.PoissonSampledDpEvent(220 / 928, dp_accounting.GaussianDpEvent(1.757))
    added.compose(dp_accounting.SelfComposedDpEvent(event, 120))
    self.assertAlmostEqual(accountant.epsilon([(_QUICKSTART, 120)], 1e-4), added.get_epsilon(1e-4), places=9)

  def test_everyone_in_every_round_is_one_gaussian(self) -> None:
    exact = _root(lambda epsilon: _gaussian_delta(epsilon, math.sqrt(120) / 1.757), 1e-4)
    self.assertAlmostEqual(exact, 41.84125, places=5)
    for sampling in ('poisson', 'fixed'):
      found = accountant.epsilon([(accountant.Round(sampling, 1.0, 1.757), 120)], 1e-4)
      self.assertBetween(found, exact, exact + 1e-3)

  def test_fixed_cohorts_are_a_mixture_over_the_rounds_that_have_the_client(self) -> None:
    share = 220 / 928
    weights = {taken: math.comb(120, taken) * share**taken * (1 - share) ** (120 - taken) for taken in range(1, 121)}

    def delta(epsilon: float) -> float:
      return sum(weight * _gaussian_delta(epsilon, math.sqrt(taken) / 1.757) for taken, weight in weights.items())

    exact = _root(delta, 1e-4)
    found = accountant.epsilon([(_QUICKSTART._replace(sampling='fixed'), 120)], 1e-4)
    self.assertBetween(found, exact, exact + 1e-3)
    self.assertLess(found, 41.84)

  def test_fixed_cohorts_cost_more_than_poisson(self) -> None:
    fixed = accountant.epsilon([(_QUICKSTART._replace(sampling='fixed'), 120)], 1e-4)
    self.assertGreater(fixed, 1.5 * accountant.epsilon([(_QUICKSTART, 120)], 1e-4))

  def test_the_order_of_rounds_does_not_matter(self) -> None:
    other = accountant.Round('poisson', 0.1, 1.2)
    whole = accountant.epsilon([(_QUICKSTART, 60), (other, 20)], 1e-4)
    self.assertAlmostEqual(accountant.epsilon([(other, 20), (_QUICKSTART, 60)], 1e-4), whole, places=9)
    self.assertEqual(accountant.epsilon([(_QUICKSTART, 30), (other, 20), (_QUICKSTART, 30)], 1e-4), whole)

  def test_no_rounds_cost_nothing(self) -> None:
    self.assertEqual(accountant.epsilon([], 1e-4), 0.0)
    self.assertEqual(accountant.epsilon([(_QUICKSTART, 0)], 1e-4), 0.0)

  @parameterized.parameters('poisson', 'fixed')
  def test_what_a_round_costs_is_worked_out_once(self, sampling: str) -> None:
    kind = accountant.Round(sampling, 0.123, 1.9)
    with mock.patch.object(pld.privacy_loss_distribution, 'from_gaussian_mechanism', side_effect=_gaussian) as made:
      for rounds in (1, 10, 20):
        accountant.epsilon([(kind, rounds)], 1e-4)
    self.assertEqual(made.call_count, 1)

  @parameterized.parameters('poisson', 'fixed')
  def test_beyond_all_use_it_is_infinite(self, sampling: str) -> None:
    for noise, rounds in ((1e-6, 1), (0.001, 1), (0.0012, 3), (0.04, 1), (0.06, 10), (0.1, 100), (0.3, 100_000)):
      self.assertEqual(accountant.epsilon([(accountant.Round(sampling, 0.5, noise), rounds)], 1e-4), math.inf)

  def test_the_largest_epsilon_is_a_number(self) -> None:
    found = accountant.epsilon([(accountant.Round('poisson', 1.0, 0.1), 1)], 1e-4)
    exact = _root(lambda epsilon: _gaussian_delta(epsilon, 10.0), 1e-4)
    self.assertBetween(found, exact, exact + 0.1)
    self.assertLess(found, guarantees.LARGEST_EPSILON)


def _print_growth() -> None:
  process = psutil.Process()
  accountant.epsilon([(_QUICKSTART, 90)], 1e-4)
  before = process.memory_info().rss
  for number in range(100, 4000, 200):  # 30 MB and more if every length of a transform stays in memory.
    accountant.epsilon([(_QUICKSTART, number)], 1e-4)
  print(process.memory_info().rss - before)


class MemoryTest(absltest.TestCase):
  def test_does_not_creep_over_a_long_run(self) -> None:
    """In a process of its own: what other tests have freed would hide it, or be counted."""
    code = 'from tests.tff_tasks.privacy import accountant_test; accountant_test._print_growth()'
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    self.assertLess(int(done.stdout), 12 << 20)

  def test_a_c_library_without_trimming_does(self) -> None:
    with mock.patch('ctypes.CDLL', return_value=object()):
      self.assertAlmostEqual(accountant.epsilon([(_QUICKSTART, 119)], 1e-4), 6.97, delta=0.05)


class DescribeTest(absltest.TestCase):
  def test_names_the_accountant(self) -> None:
    found = accountant.describe([_QUICKSTART])
    self.assertEqual(found['neighboring_relation'], 'REPLACE_SPECIAL')
    self.assertEqual((found['accountant_version'], found['discretization']), ('0.6.0', 1e-3))
    louder = accountant.Round('fixed', 1.0, 0.5)
    self.assertAlmostEqual(accountant.describe([_QUICKSTART, louder])['discretization'], 4e-3)


if __name__ == '__main__':
  absltest.main()
