"""Tests that the default mechanism is independent Gaussian noise, and costs what the sampler says."""

from absl.testing import absltest
import dp_accounting
import numpy as np

from tff_tasks.population.samplers import base as samplers_base
from tff_tasks.population.samplers import min_separation
from tff_tasks.population.samplers import poisson
from tff_tasks.privacy.mechanisms import base
from tff_tasks.privacy.mechanisms import gaussian
from tff_tasks.privacy.mechanisms import noise

_SIZE = samplers_base.Size(50, 10)


class GaussianTest(absltest.TestCase):
  def test_costs_what_the_sampler_says_of_a_gaussian(self) -> None:
    one_round = dp_accounting.GaussianDpEvent(2.0)
    found = gaussian.Gaussian().event(2.0, base.Rounds(7, poisson.Poisson(), _SIZE))
    self.assertEqual(found, poisson.Poisson().event(one_round, _SIZE, 7))
    sampler = min_separation.MinSeparation(3)
    not_all = gaussian.Gaussian().event(2.0, base.Rounds(7, sampler, _SIZE, is_everyone_available=False))
    self.assertEqual(not_all, dp_accounting.SelfComposedDpEvent(one_round, 3))

  def test_draws_a_rounded_gaussian_whatever_the_first_round(self) -> None:
    expected = noise.RoundedGaussian(bytes(32), 100.0, 20).draw(6)
    for first_round in (1, 6):
      drawn = gaussian.Gaussian().source(bytes(32), 100.0, 20, first_round).draw(6)
      np.testing.assert_array_equal(drawn, expected)
    self.assertEqual(gaussian.Gaussian().relative_stddev, 1.0)


if __name__ == '__main__':
  absltest.main()
