import dataclasses
import re

from absl.testing import absltest

from contracts import guarantees
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import population_scaling
from tff_tasks.privacy import segments as segments_lib

_PLAN = plan_lib.PrivacyPlan(
  population=932, clients_per_round=250, clip_norm=0.3, quantization_bits=4, noise_multiplier=2.08, delta=1e-4
)


def _explain(plan: plan_lib.PrivacyPlan, target_epsilon: float) -> str:
  return population_scaling.explain([segments_lib.Segment(plan, 140)], target_epsilon)


class PopulationScalingTest(absltest.TestCase):
  def test_keeps_the_noise_on_the_mean(self) -> None:
    bigger = population_scaling.scale(_PLAN, 3.0)
    exact = dataclasses.replace(_PLAN, quantization_bits=0)
    on_mean, expected = (plan.noise_stddev(100) / plan.clients_per_round for plan in (bigger, exact))
    self.assertAlmostEqual(on_mean, expected, places=12)
    shares = [plan.clients_per_round / plan.population for plan in (bigger, _PLAN)]
    self.assertAlmostEqual(*shares, places=3)

  def test_asks_for_no_more_clients_than_the_sampler_can(self) -> None:
    options = ('separation=4',)
    most = dataclasses.replace(_PLAN, clients_per_round=233, sampling='min_separation', sampling_options=options)
    for factor in (1.001, 1.5, 3.1):
      bigger = population_scaling.scale(most, factor)
      self.assertEqual(bigger.clients_per_round, bigger.population // 4)

  def test_the_sentence_is_true(self) -> None:
    line = _explain(_PLAN, 2.0)
    population, clients = (int(number.replace(',', '')) for number in re.findall(r'([\d,]+) (?:users|clients)', line))
    noise, delta = map(float, re.findall(r'(?:multiplier|delta) ([\d.]+(?:e-\d+)?)', line))
    claimed = dataclasses.replace(
      _PLAN, population=population, clients_per_round=clients, noise_multiplier=noise, delta=delta
    )
    epsilon = segments_lib.epsilon_of_plan(claimed, 140)
    self.assertBetween(epsilon, 1.95, 2.0)
    self.assertLess(delta, 1 / population)

  def test_segments_are_scaled_together(self) -> None:
    segments = [segments_lib.Segment(dataclasses.replace(_PLAN, noise_multiplier=z), 70) for z in (1.5, 3.0)]
    line = population_scaling.explain(segments, 2.0)
    noises = re.findall(r'[\d.]+(?=, then|, delta)', line)
    self.assertAlmostEqual(float(noises[1]) / float(noises[0]), 2.0, delta=0.01)

  def test_a_data_set_that_costs_too_much_does_not_scale(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=guarantees.Cost(1.5, 1e-5))
    self.assertIn('No number of clients', _explain(plan, 1.5))
    bigger = population_scaling.scale(plan, 3.0)
    self.assertAlmostEqual(bigger.learned.delta / (bigger.delta or 0.0), 0.1, places=12)
    self.assertEqual(bigger.learned.epsilon, 1.5)

  def test_more_clients_than_this_run_could_sum_are_no_mistake(self) -> None:
    wide = plan_lib.PrivacyPlan(
      population=20_000, clients_per_round=5000, clip_norm=1.0, quantization_bits=16, noise_multiplier=1.0, delta=1e-6
    )
    self.assertRegex(_explain(wide, 2.0), 'With [0-9,]+ users')

  def test_knows_when_to_stop(self) -> None:
    loud = dataclasses.replace(_PLAN, noise_multiplier=400.0)
    self.assertIn('No number of clients', _explain(loud, 1e-9))

  def test_enough_is_enough(self) -> None:
    self.assertIn('as it is', _explain(_PLAN, 50.0))
    self.assertIn('No guarantee', _explain(dataclasses.replace(_PLAN, noise_multiplier=0.0), 2.0))


if __name__ == '__main__':
  absltest.main()
