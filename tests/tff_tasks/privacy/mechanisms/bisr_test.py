"""Tests BISR against its definition: the square root, the noise of rounds, and epsilon in closed form."""

from collections.abc import Sequence
import dataclasses
import math
import os
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import linalg
from scipy import optimize
from scipy import special

from tests.tff_tasks import runs
from tff_tasks.population.samplers import base
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.privacy.mechanisms import bisr
from tff_tasks.privacy.mechanisms import noise

_KEY = bytes(range(32))
_PLAN = plan_lib.PrivacyPlan(
  population=1000,
  clients_per_round=100,
  sampling='min_separation',
  sampling_options=('separation=5',),
  clip_norm=0.3,
  noise_multiplier=4.0,
  delta=1e-5,
  mechanism='bisr',
  mechanism_options=('bandwidth=4',),
)


@dataclasses.dataclass(frozen=True)
class EveryFifth(base.Sampler):
  """Everyone, in every fifth round."""

  def cohort(self, draw: base.Draw) -> np.ndarray:
    return np.arange(0 if draw.step % 5 else draw.size.population)

  def most_rounds(self, size: base.Size, rounds: int) -> int:
    return -(-rounds // 5)

  def min_gap(self, size: base.Size) -> int:
    return 5


def _matrix(coefficients: tuple[float, ...], rounds: int) -> np.ndarray:
  return linalg.toeplitz([*coefficients, *[0] * rounds][:rounds], [0] * rounds)


def _gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
  """Returns the epsilon of one Gaussian in closed form: Balle and Wang 2018 (arXiv 1805.06530), theorem 8."""
  inverse = 1 / noise_multiplier

  def excess(epsilon: float) -> float:
    near, far = inverse / 2 - epsilon / inverse, -inverse / 2 - epsilon / inverse
    return special.ndtr(near) - math.exp(epsilon) * special.ndtr(far) - delta

  return optimize.brentq(excess, 0.0, 100.0)


def _epsilon(plan: plan_lib.PrivacyPlan, rounds: int) -> float:
  epsilon = segments_lib.epsilon_of_plan(plan, rounds)
  assert epsilon is not None
  return epsilon


class BisrTest(parameterized.TestCase):
  def test_the_coefficients_are_those_of_the_square_root(self) -> None:
    coefficients = bisr.Bisr(9).coefficients
    self.assertEqual(coefficients[:5], (1.0, -1 / 2, -1 / 8, -1 / 16, -5 / 128))
    np.testing.assert_allclose(np.convolve(coefficients, coefficients)[:9], [1, -1, *[0] * 7], atol=1e-15)

  @parameterized.parameters(
    (1, 'cyclic', (), (0, 1, 2, 3)),  # A new order in each epoch of 10 rounds: consecutive rounds may have a client.
    (4, 'cyclic', (), (0, 1, 2, 3)),
    (4, 'min_separation', ('separation=5',), range(0, 40, 5)),
    (16, 'min_separation', ('separation=5',), range(0, 40, 5)),
  )
  def test_epsilon_is_that_of_a_gaussian_on_the_matrix(
    self, bandwidth: int, sampling: str, options: tuple[str, ...], worst: Sequence[int]
  ) -> None:
    plan = dataclasses.replace(
      _PLAN, mechanism_options=(f'bandwidth={bandwidth}',), sampling=sampling, sampling_options=options
    )
    columns = np.linalg.inv(_matrix(bisr.Bisr(bandwidth).coefficients, 40))[:, list(worst)]
    expected = _gaussian_epsilon(float(4.0 / np.linalg.norm(columns.sum(axis=1))), 1e-5)
    self.assertBetween(_epsilon(plan, 40), expected - 1e-6, expected * 1.001)

  def test_takes_any_sampler_with_a_smallest_gap(self) -> None:
    """One of the user's own costs what the built-in one with the same bounds costs."""
    own = dataclasses.replace(_PLAN, sampling=f'{__name__}:EveryFifth', sampling_options=())
    self.assertEqual(_epsilon(own, 40), _epsilon(_PLAN, 40))

  def test_one_draw_is_independent_noise_without_amplification(self) -> None:
    plan = dataclasses.replace(_PLAN, mechanism_options=('bandwidth=1',))
    independent = dataclasses.replace(plan, mechanism='gaussian', mechanism_options=(), availability='diurnal')
    self.assertAlmostEqual(_epsilon(plan, 23), _epsilon(independent, 23), delta=2e-3)

  def test_disturbs_sums_less_than_independent_noise_at_the_same_epsilon(self) -> None:
    """Root mean square of the noise on the sums of all rounds so far, which a model is made of."""
    errors = {}
    for bandwidth in (1, 4):
      plan = dataclasses.replace(_PLAN, mechanism_options=(f'bandwidth={bandwidth}',))
      calibrated = segments_lib.calibrated(plan, 4.0, 40)
      sums = np.tril(np.ones((40, 40))) @ _matrix(bisr.Bisr(bandwidth).coefficients, 40)
      errors[bandwidth] = calibrated.noise_multiplier * np.linalg.norm(sums)
    self.assertLess(errors[4], 0.7 * errors[1])

  def test_the_noise_of_rounds_is_that_of_the_matrix(self) -> None:
    stddev, size, rounds = 2.0**30, 50, 7
    mechanism = bisr.Bisr(3)
    source = mechanism.source(_KEY, stddev, size, 3)
    draws = [noise.RoundedGaussian(_KEY, stddev, size).draw(3 + number) for number in range(rounds)]
    expected = _matrix(mechanism.coefficients, rounds) @ np.array(draws)
    drawn = np.array([source.draw(3 + number) for number in range(rounds)])
    self.assertLessEqual(np.abs(drawn - expected).max(), 2.0)  # Each draw that is rounded here counts for half a step.
    last = math.hypot(*mechanism.coefficients)
    self.assertAlmostEqual(mechanism.relative_stddev, last)

  @parameterized.parameters('poisson', 'fixed')
  def test_refuses_samplers_without_a_bound_with_what_to_set(self, sampling: str) -> None:
    with self.assertRaisesRegex(ValueError, 'no proof .*; set --sampling=min_separation .*--mechanism=gaussian'):
      dataclasses.replace(_PLAN, sampling=sampling, sampling_options=())
    dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=4',))
    dataclasses.replace(_PLAN, sampling='cyclic', sampling_options=())
    dataclasses.replace(_PLAN, sampling=sampling, sampling_options=(), mechanism='gaussian', mechanism_options=())

  @parameterized.parameters(0, 257)
  def test_refuses_a_bandwidth_out_of_range(self, bandwidth: int) -> None:
    with self.assertRaisesRegex(ValueError, f'Expected bandwidth of 1 to 256, found {bandwidth}: set'):
      bisr.Bisr(bandwidth)


class RunTest(runs.RunsTestCase):
  def test_a_secret_draws_noise_from_its_first_round_on(self) -> None:
    options: dict[str, Any] = {'mechanism': 'bisr', 'sampling': 'min_separation', 'sampling_options': ('separation=2',)}
    with mock.patch.object(bisr.Bisr, 'source', autospec=True) as drawn:
      self.train('run', **options)
      self.train('run', **options, total_rounds=7)
      os.remove(self.path('run', 'secret/checkpoints', 'round_000007.ckpt'))
      self.train('run', **options, total_rounds=8)  # Round 7 once more, with fresh noise.
      self.train('branch', **options, branch_from=self.path('run'), total_rounds=9)
    self.assertEqual([call.args[4] for call in drawn.call_args_list], [1, 1, 7, 9])
    self.assertLen({call.args[1] for call in drawn.call_args_list}, 3)
    plan = self.saved('branch').history.current.plan
    self.assertEqual(self.ledger('branch')['events'], [str(plan.event(rounds)) for rounds in (7, 2, 1)])


if __name__ == '__main__':
  absltest.main()
