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
from tff_tasks.population.samplers import events
from tff_tasks.privacy import accountant

_gaussian = pld.privacy_loss_distribution.from_gaussian_mechanism
_STEP, _REACH = 2e-4, 60.0
_SIZE = round(2 * _REACH / _STEP)


def _poisson(probability: float, noise: float) -> dp_accounting.DpEvent:
  return dp_accounting.PoissonSampledDpEvent(probability, dp_accounting.GaussianDpEvent(noise))


def _fixed(probability: float, noise: float) -> dp_accounting.DpEvent:
  return events.KnownCohortDpEvent(probability, dp_accounting.GaussianDpEvent(noise))


def _epsilon(rounds: Sequence[tuple[dp_accounting.DpEvent, int]]) -> float:
  """Returns the epsilon of kinds of rounds, each with a number, at delta 1e-4."""
  return accountant.epsilon([dp_accounting.SelfComposedDpEvent(kind, number) for kind, number in rounds], 1e-4)


def _losses(kind: dp_accounting.DpEvent, is_present: bool) -> np.ndarray:
  """Returns the distribution of the privacy loss of a round on a centred grid; independent of dp-accounting.

  `is_present`: whether outputs are drawn with the client's data or with it replaced by none.
  """
  noise, secret, known = _numbers(kind)
  edges = np.linspace(-12 * noise - 2, 12 * noise + 2, 500_001)
  centers = (edges[1:] + edges[:-1]) / 2
  base = np.exp(-(centers**2) / (2 * noise**2))
  mixture = (1 - secret) * base + secret * np.exp(-((centers - 1) ** 2) / (2 * noise**2))
  first, second = (mixture, base) if is_present else (base, mixture)
  places = np.rint((np.log(first) - np.log(second)) / _STEP).astype(int) + _SIZE // 2
  one = np.bincount(np.clip(places, 0, _SIZE - 1), first / first.sum(), _SIZE).astype(np.float64)
  one = known * one  # Who takes part is known: without the client, nothing is lost.
  one[_SIZE // 2] += 1 - known
  return one


def _numbers(kind: dp_accounting.DpEvent) -> tuple[float, float, float]:
  """Returns the noise, the probability of a secret coin, and that a known cohort has the client."""
  if isinstance(kind, events.KnownCohortDpEvent):
    return kind.event.noise_multiplier, 1.0, kind.probability
  if isinstance(kind, dp_accounting.PoissonSampledDpEvent):
    return kind.event.noise_multiplier, kind.sampling_probability, 1.0
  return kind.noise_multiplier, 1.0, 1.0


def _delta(rounds: Sequence[tuple[dp_accounting.DpEvent, int]], epsilon: float) -> float:
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


_QUICKSTART, _FIXED = _poisson(220 / 928, 1.757), _fixed(220 / 928, 1.757)


class EpsilonTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('quickstart', [(_QUICKSTART, 120)]),
    ('one_round', [(_poisson(0.1, 1.0), 1)]),
    ('everyone', [(_poisson(0.97, 4.0), 10)]),
    ('fixed', [(_fixed(0.2, 2.0), 40)]),
    ('two_plans', [(_poisson(0.25, 2.0), 30), (_poisson(0.1, 1.2), 20)]),
    ('two_samplings', [(_QUICKSTART, 60), (_fixed(0.3, 3.0), 40)]),
    ('little_noise_first', [(_poisson(0.001, 0.5), 5), (_QUICKSTART, 60)]),
  )
  def test_is_that_of_a_direct_convolution(self, rounds: list[tuple[dp_accounting.DpEvent, int]]) -> None:
    epsilon = _epsilon(rounds)
    # Delta falls by a factor of e with about each unit of epsilon: bracketed to half a percent of epsilon.
    self.assertLessEqual(_delta(rounds, epsilon), 1.002e-4)
    self.assertGreater(_delta(rounds, 0.995 * epsilon), 0.98e-4)

  @parameterized.parameters(
    (_QUICKSTART, 1, 0.7449781565217292),
    (_QUICKSTART, 120, 6.999288303470198),
    (_FIXED, 1, 1.7346563751514839),
    (_FIXED, 120, 16.533640611268613),
  )
  def test_rounds_cost_what_they_always_did(self, kind: dp_accounting.DpEvent, rounds: int, expected: float) -> None:
    self.assertAlmostEqual(_epsilon([(kind, rounds)]), expected, places=12)

  def test_zero_out_costs_what_adding_or_removing_a_client_does(self) -> None:
    """The sum loses one client's term in both relations, and the coins of the others do not change."""
    added = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-3)
    event = dp_accounting.PoissonSampledDpEvent(220 / 928, dp_accounting.GaussianDpEvent(1.757))
    added.compose(dp_accounting.SelfComposedDpEvent(event, 120))
    self.assertAlmostEqual(_epsilon([(_QUICKSTART, 120)]), added.get_epsilon(1e-4), places=9)

  def test_everyone_in_every_round_is_one_gaussian(self) -> None:
    exact = _root(lambda epsilon: _gaussian_delta(epsilon, math.sqrt(120) / 1.757), 1e-4)
    self.assertAlmostEqual(exact, 41.84125, places=5)
    for kind in (_poisson(1.0, 1.757), _fixed(1.0, 1.757), dp_accounting.GaussianDpEvent(1.757)):
      found = _epsilon([(kind, 120)])
      self.assertBetween(found, exact, exact + 1e-3)

  def test_fixed_cohorts_are_a_mixture_over_the_rounds_that_have_the_client(self) -> None:
    share = 220 / 928
    weights = {taken: math.comb(120, taken) * share**taken * (1 - share) ** (120 - taken) for taken in range(1, 121)}

    def delta(epsilon: float) -> float:
      return sum(weight * _gaussian_delta(epsilon, math.sqrt(taken) / 1.757) for taken, weight in weights.items())

    exact = _root(delta, 1e-4)
    found = _epsilon([(_FIXED, 120)])
    self.assertBetween(found, exact, exact + 1e-3)
    self.assertLess(found, 41.84)

  def test_fixed_cohorts_cost_more_than_poisson(self) -> None:
    fixed = _epsilon([(_FIXED, 120)])
    self.assertGreater(fixed, 1.5 * _epsilon([(_QUICKSTART, 120)]))

  def test_the_order_of_rounds_does_not_matter(self) -> None:
    other = _poisson(0.1, 1.2)
    whole = _epsilon([(_QUICKSTART, 60), (other, 20)])
    self.assertAlmostEqual(_epsilon([(other, 20), (_QUICKSTART, 60)]), whole, places=9)
    self.assertEqual(_epsilon([(_QUICKSTART, 30), (other, 20), (_QUICKSTART, 30)]), whole)

  def test_no_rounds_cost_nothing(self) -> None:
    self.assertEqual(accountant.epsilon([], 1e-4), 0.0)
    self.assertEqual(_epsilon([(_QUICKSTART, 0)]), 0.0)
    self.assertEqual(accountant.epsilon([dp_accounting.NoOpDpEvent()], 1e-4), 0.0)

  def test_compositions_may_be_nested(self) -> None:
    twice = dp_accounting.SelfComposedDpEvent(dp_accounting.ComposedDpEvent([_QUICKSTART, _FIXED, _QUICKSTART]), 10)
    self.assertEqual(accountant.epsilon([twice], 1e-4), _epsilon([(_QUICKSTART, 20), (_FIXED, 10)]))

  @parameterized.parameters(
    dp_accounting.LaplaceDpEvent(1.0),
    dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.LaplaceDpEvent(1.0)),
    dp_accounting.PoissonSampledDpEvent(0.1, _QUICKSTART),
    dp_accounting.PoissonSampledDpEvent(1.1, dp_accounting.GaussianDpEvent(1.0)),
    dp_accounting.SampledWithoutReplacementDpEvent(9, 3, dp_accounting.GaussianDpEvent(1.0)),
  )
  def test_refuses_what_it_has_no_proof_for(self, kind: dp_accounting.DpEvent) -> None:
    accountant.check(dp_accounting.SelfComposedDpEvent(_QUICKSTART, 3))
    event = dp_accounting.SelfComposedDpEvent(kind, 3)
    with self.assertRaisesRegex(ValueError, 'Expected rounds that are a Gaussian, .*no proof'):
      accountant.check(event)
    with self.assertRaisesRegex(ValueError, 'no proof'):
      accountant.epsilon([event], 1e-4)

  @parameterized.parameters(_poisson(0.123, 1.9), _fixed(0.123, 1.9))
  def test_what_a_round_costs_is_worked_out_once(self, kind: dp_accounting.DpEvent) -> None:
    with mock.patch.object(pld.privacy_loss_distribution, 'from_gaussian_mechanism', side_effect=_gaussian) as made:
      for rounds in (1, 10, 20):
        _epsilon([(kind, rounds)])
    self.assertEqual(made.call_count, 1)

  @parameterized.parameters(_poisson, _fixed)
  def test_beyond_all_use_it_is_infinite(self, kind: Callable[[float, float], dp_accounting.DpEvent]) -> None:
    for noise, rounds in ((1e-6, 1), (0.001, 1), (0.0012, 3), (0.04, 1), (0.06, 10), (0.1, 100), (0.3, 100_000)):
      self.assertEqual(_epsilon([(kind(0.5, noise), rounds)]), math.inf)

  def test_the_largest_epsilon_is_a_number(self) -> None:
    found = _epsilon([(_poisson(1.0, 0.1), 1)])
    exact = _root(lambda epsilon: _gaussian_delta(epsilon, 10.0), 1e-4)
    self.assertBetween(found, exact, exact + 0.1)
    self.assertLess(found, guarantees.LARGEST_EPSILON)


def _print_growth() -> None:
  process = psutil.Process()
  _epsilon([(_QUICKSTART, 90)])
  before = process.memory_info().rss
  for number in range(100, 4000, 200):  # 30 MB and more if every length of a transform stays in memory.
    _epsilon([(_QUICKSTART, number)])
  print(process.memory_info().rss - before)


class MemoryTest(absltest.TestCase):
  def test_does_not_creep_over_a_long_run(self) -> None:
    """In a process of its own: what other tests have freed would hide it, or be counted."""
    code = 'from tests.tff_tasks.privacy import accountant_test; accountant_test._print_growth()'
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    self.assertLess(int(done.stdout), 12 << 20)

  def test_a_c_library_without_trimming_does(self) -> None:
    with mock.patch('ctypes.CDLL', return_value=object()):
      self.assertAlmostEqual(_epsilon([(_QUICKSTART, 119)]), 6.97, delta=0.05)


class DescribeTest(absltest.TestCase):
  def test_names_the_accountant(self) -> None:
    found = accountant.describe([_QUICKSTART])
    self.assertEqual(found['neighboring_relation'], 'REPLACE_SPECIAL')
    self.assertEqual((found['accountant_version'], found['discretization']), ('0.6.0', 1e-3))
    louder = _fixed(1.0, 0.5)
    self.assertAlmostEqual(accountant.describe([_QUICKSTART, louder])['discretization'], 4e-3)


if __name__ == '__main__':
  absltest.main()
