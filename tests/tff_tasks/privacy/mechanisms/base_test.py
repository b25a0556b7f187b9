"""Tests what a mechanism may know of the rounds, and says by itself."""

from absl.testing import absltest
import dp_accounting

from tff_tasks.population.samplers import base as samplers_base
from tff_tasks.population.samplers import min_separation
from tff_tasks.population.samplers import poisson
from tff_tasks.privacy.mechanisms import base
from tff_tasks.privacy.mechanisms import bisr
from tff_tasks.privacy.mechanisms import gaussian

_SIZE = samplers_base.Size(50, 10)
_ROUNDS = base.Rounds(10, min_separation.MinSeparation(4), _SIZE)


class RoundsTest(absltest.TestCase):
  def test_know_how_a_client_takes_part(self) -> None:
    self.assertEqual((_ROUNDS.participations, _ROUNDS.min_gap), (3, 4))
    every = base.Rounds(10, poisson.Poisson(), _SIZE)
    self.assertEqual((every.participations, every.min_gap), (10, None))

  def test_independent_noise_without_availability_is_amplified(self) -> None:
    one_round = dp_accounting.GaussianDpEvent(1.0)
    self.assertEqual(_ROUNDS.independent(one_round), _ROUNDS.sampler.event(one_round, _SIZE, 10))
    not_all = _ROUNDS._replace(is_everyone_available=False)
    self.assertEqual(not_all.independent(one_round), dp_accounting.SelfComposedDpEvent(one_round, 3))
    self.assertIn('With --availability sampling is not counted', not_all.bound)


class MechanismTest(absltest.TestCase):
  def test_built_in_ones_say_what_they_are(self) -> None:
    for mechanism in (gaussian.Gaussian(), bisr.Bisr()):
      self.assertIn('each client against whoever gets what is released', mechanism.trust)
      self.assertIn('whole tail', mechanism.exactness)
      self.assertEqual(mechanism.unit, 'client')
    self.assertIn('each pays for every round that --sampling allows it', bisr.Bisr().bound(_ROUNDS))


if __name__ == '__main__':
  absltest.main()
