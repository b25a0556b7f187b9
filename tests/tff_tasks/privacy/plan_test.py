import dataclasses
import math

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
import numpy as np

from contracts import guarantees
from tff_tasks.compression import fine_grid
from tff_tasks.compression import quantization
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import events
from tff_tasks.privacy import accountant
from tff_tasks.privacy import plan as plan_lib

_PLAN = plan_lib.PrivacyPlan(
  population=932, clients_per_round=250, clip_norm=0.3, quantization_bits=8, noise_multiplier=2.08, delta=1e-4
)


@dataclasses.dataclass(frozen=True)
class Everyone(base.Sampler):
  """A sampler that does not say what rounds cost."""

  def cohort(self, draw: base.Draw) -> np.ndarray:
    return np.arange(draw.size.population)


@dataclasses.dataclass(frozen=True)
class Unproved(Everyone):
  """One that says something which cannot be accounted for."""

  def event(self, one_round: dp_accounting.DpEvent, size: base.Size, rounds: int) -> dp_accounting.DpEvent:
    return dp_accounting.SampledWithoutReplacementDpEvent(size.population, size.clients_per_round, one_round)


@dataclasses.dataclass(frozen=True)
class Proved(Everyone):
  """One that can be accounted for."""

  def event(self, one_round: dp_accounting.DpEvent, size: base.Size, rounds: int) -> dp_accounting.DpEvent:
    return dp_accounting.SelfComposedDpEvent(one_round, rounds)


def _gaussians(count: int) -> float:
  return accountant.epsilon([dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(2.08), count)], 1e-4)


def _training_epsilon(plan: plan_lib.PrivacyPlan, rounds: int) -> float | None:
  return plan_lib.training_epsilon_of([plan_lib.Segment(plan, rounds)])


def _epsilon(plan: plan_lib.PrivacyPlan, rounds: int) -> float:
  epsilon = plan.epsilon(rounds)
  assert epsilon is not None
  return epsilon


class PrivacyPlanTest(parameterized.TestCase):
  @parameterized.parameters(('poisson', 1), ('poisson', 140), ('fixed', 1), ('fixed', 140))
  def test_epsilon_is_that_of_its_rounds(self, sampling: str, rounds: int) -> None:
    plan = dataclasses.replace(_PLAN, sampling=sampling)
    one_round = dp_accounting.GaussianDpEvent(2.08)
    kinds = {
      'poisson': dp_accounting.PoissonSampledDpEvent(250 / 932, one_round),
      'fixed': events.KnownCohortDpEvent(250 / 932, one_round),
    }
    event = dp_accounting.SelfComposedDpEvent(kinds[sampling], rounds)
    self.assertEqual(_epsilon(plan, rounds), accountant.epsilon([event], 1e-4))

  def test_epsilon_grows_with_rounds(self) -> None:
    spent = [_epsilon(_PLAN, rounds) for rounds in (0, 1, 10, 140)]
    self.assertEqual(spent[0], 0.0)
    self.assertEqual(spent, sorted(spent))
    self.assertIsNone(dataclasses.replace(_PLAN, noise_multiplier=0.0).epsilon(10))

  @parameterized.parameters('poisson', 'fixed', 'cyclic')
  def test_calibration_meets_the_target_and_no_more(self, sampling: str) -> None:
    plan = dataclasses.replace(_PLAN, sampling=sampling).calibrated(7.0, 40)
    self.assertLessEqual(plan.epsilon(40), 7.0)
    less = dataclasses.replace(plan, noise_multiplier=plan.noise_multiplier - 0.001)
    self.assertGreater(less.epsilon(40), 7.0)

  def test_calibration_finds_the_noise_of_a_seeded_run_too(self) -> None:
    seeded = dataclasses.replace(_PLAN, is_seeded=True)
    self.assertEqual(seeded.calibrated(7.0, 40).noise_multiplier, _PLAN.calibrated(7.0, 40).noise_multiplier)

  def test_calibration_says_when_it_cannot(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a target_epsilon of at most 100, found 101, .*nothing of use'):
      _PLAN.calibrated(101, 10)
    with self.assertRaisesRegex(ValueError, 'Expected a target_epsilon'):
      _PLAN.calibrated(1e-5, 1000)

  def test_noise_is_for_the_bound_after_rounding(self) -> None:
    plan = dataclasses.replace(_PLAN, quantization_bits=4)
    bound = quantization.Codec(20_000, 0.3, 4).norm_bound
    self.assertGreater(bound, 1.03 * 0.3)
    self.assertEqual(plan.norm_bound(20_000), bound)
    self.assertEqual(plan.noise_stddev(20_000), 2.08 * bound)
    exact = dataclasses.replace(_PLAN, quantization_bits=0)
    self.assertEqual(exact.norm_bound(20_000), fine_grid.FineGrid(20_000, 0.3).norm_bound)
    self.assertAlmostEqual(exact.noise_stddev(20_000), 2.08 * 0.3, delta=1e-4)
    for private in (plan, exact):
      codec = private.codec(20_000)
      assert codec is not None
      self.assertBetween(private.noise_levels(20_000), 2.08 * codec.max_squared_levels**0.5, 1e12)
      self.assertAlmostEqual(private.noise_levels(20_000) * codec.step / private.noise_stddev(20_000), 1, places=12)
    self.assertEqual(exact.update_bytes(1000), 4000)
    self.assertEqual(plan.update_bytes(1024), 512)

  @parameterized.named_parameters(
    ('sampling', {'sampling': 'shuffled'}, 'Expected --sampling to be one of poisson, fixed, cyclic, min_separation'),
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

  @parameterized.parameters('poisson', 'fixed')
  def test_the_sensitivity_is_the_bound_of_one_client(self, sampling: str) -> None:
    plan = dataclasses.replace(_PLAN, sampling=sampling)
    self.assertEqual(plan.noise_stddev(1000), 2.08 * (plan.norm_bound(1000) or 0.0))

  def test_needs_no_clip_without_noise_and_rounding(self) -> None:
    plan = plan_lib.PrivacyPlan(population=10, clients_per_round=2, quantization_bits=0)
    self.assertIsNone(plan.norm_bound(5))
    weighted = plan_lib.PrivacyPlan(1000, 10, clip_norm=0.3, quantization_bits=0, weighting='examples')
    self.assertIsNone(weighted.norm_bound(5))  # A client adds its update times its examples.
    self.assertEqual(plan.noise_stddev(5), 0.0)


class SamplerTest(parameterized.TestCase):
  @parameterized.parameters(
    ('poisson', (), 9), ('fixed', (), 9), ('cyclic', (), 3), ('min_separation', ('separation=3',), 3)
  )
  def test_availability_takes_the_amplification_away(
    self, sampling: str, options: tuple[str, ...], participations: int
  ) -> None:
    everyone = dataclasses.replace(_PLAN, sampling=sampling, sampling_options=options)
    plan = dataclasses.replace(everyone, availability='diurnal')
    self.assertEqual(_epsilon(plan, 9), _gaussians(participations))
    self.assertGreaterEqual(_epsilon(plan, 9), _epsilon(everyone, 9))
    self.assertIn('With --availability sampling is not counted', plan.bound)
    self.assertEndsWith(plan.sampling_in_words, ', of those that are available (diurnal)')

  def test_one_without_accounting_trains_without_noise_only(self) -> None:
    name = f'{__name__}:Everyone'
    plan = dataclasses.replace(_PLAN, sampling=name, noise_multiplier=0.0)
    with self.assertRaisesRegex(ValueError, 'found Everyone without the method event: add it .*noise_multiplier=0'):
      dataclasses.replace(plan, noise_multiplier=1.0)
    with self.assertRaisesRegex(ValueError, 'Everyone without the method event'):
      dataclasses.replace(plan, noise_multiplier=1.0, availability='diurnal')
    with self.assertRaisesRegex(ValueError, 'Everyone without the method event'):
      plan.calibrated(7.0, 40)
    self.assertEqual(dataclasses.replace(_PLAN, sampling=f'{__name__}:Proved').epsilon(4), _gaussians(4))

  def test_one_whose_accounting_has_no_proof_is_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected rounds that are a Gaussian, .*found SampledWithoutReplacement'):
      dataclasses.replace(_PLAN, sampling=f'{__name__}:Unproved')

  def test_a_sampler_may_ask_for_fewer_clients_only(self) -> None:
    with self.assertRaisesRegex(ValueError, r'Expected 1 to 233 \(all that --sampling=min_separation can ask for'):
      dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=4',))
    with self.assertRaisesRegex(ValueError, 'found separation=2000 for 932 training clients: set a smaller separation'):
      dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=2000',))
    dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=20',), clients_per_round=40)

  @parameterized.product(sampling=('cyclic', 'min_separation'), cut=(1, 2, 3, 4, 5, 7))
  def test_rounds_in_two_segments_cost_no_less(self, sampling: str, cut: int) -> None:
    """Of a run that lost a checkpoint, some rounds are in a segment of their own."""
    options = ('separation=3',) if sampling == 'min_separation' else ()
    plan = dataclasses.replace(_PLAN, sampling=sampling, sampling_options=options, noise_multiplier=3.0)
    parts = plan_lib.epsilon_of([plan_lib.Segment(plan, cut), plan_lib.Segment(plan, 8 - cut)])
    self.assertGreaterEqual(parts or math.inf, _epsilon(plan, 8))


class NoPromiseTest(parameterized.TestCase):
  def test_there_is_a_reason_where_there_is_no_epsilon(self) -> None:
    self.assertEqual(plan_lib.why_no_promise([plan_lib.Segment(_PLAN, 20)]), '')
    for plan, reason in (
      (dataclasses.replace(_PLAN, noise_multiplier=0.0), 'this run adds no noise'),
      (dataclasses.replace(_PLAN, is_seeded=True), 'the noise comes from --seed'),
      (dataclasses.replace(_PLAN, noise_multiplier=0.001), 'epsilon is above 100'),
    ):
      self.assertStartsWith(plan_lib.why_no_promise([plan_lib.Segment(plan, 20)]), reason)
      self.assertIsNone(plan.epsilon(20))
      self.assertIsNone(_training_epsilon(plan, 20))

  @parameterized.parameters(1e-9, 0.0011, 0.0012, 0.04, 0.06)
  def test_little_noise_is_no_error_in_any_round(self, noise: float) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=noise, clients_per_round=932)
    self.assertEqual([plan.epsilon(rounds) for rounds in (10, 20, 140)], [None] * 3)

  def test_a_later_round_may_be_beyond_use(self) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=0.3, clients_per_round=932)
    self.assertLess(_epsilon(plan, 1), 100)
    self.assertIsNone(plan.epsilon(140))

  def test_the_data_set_counts_too(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=guarantees.Cost(99.0, 1e-5))
    self.assertIsNone(plan.epsilon(140))
    self.assertIn('above 100', plan_lib.why_no_promise([plan_lib.Segment(plan, 140)]))


class SegmentsTest(absltest.TestCase):
  _OTHER = dataclasses.replace(_PLAN, noise_multiplier=1.5, clients_per_round=100, sampling='fixed')

  def test_of_one_plan_are_one(self) -> None:
    segments = [plan_lib.Segment(_PLAN, rounds) for rounds in (20, 0, 30)]
    self.assertEqual(plan_lib.epsilon_of(segments), _PLAN.epsilon(50))

  def test_of_several_plans_are_composed(self) -> None:
    segments = [plan_lib.Segment(_PLAN, 20), plan_lib.Segment(self._OTHER, 30)]
    costs = [_PLAN.event(20), self._OTHER.event(30)]
    self.assertEqual(plan_lib.epsilon_of(segments), accountant.epsilon(costs, 1e-4))
    alone = max(_epsilon(_PLAN, 20), _epsilon(self._OTHER, 30))
    self.assertGreater(plan_lib.epsilon_of(segments), alone)
    self.assertLess(plan_lib.epsilon_of(segments), _epsilon(_PLAN, 20) + _epsilon(self._OTHER, 30))

  def test_what_the_data_set_cost_counts_once(self) -> None:
    cost = guarantees.Cost(1.0, 5e-5)
    first, second = (dataclasses.replace(plan, learned=cost) for plan in (_PLAN, self._OTHER))
    segments = [plan_lib.Segment(first, 20), plan_lib.Segment(second, 30)]
    costs = [first.event(20), second.event(30)]
    self.assertEqual(plan_lib.training_epsilon_of(segments), accountant.epsilon(costs, 5e-5))
    self.assertEqual(plan_lib.epsilon_of(segments), 1.0 + accountant.epsilon(costs, 5e-5))

  def test_one_without_a_promise_spoils_all(self) -> None:
    noiseless, seeded = dataclasses.replace(_PLAN, noise_multiplier=0.0), dataclasses.replace(_PLAN, is_seeded=True)
    for spoiled in (plan_lib.Segment(noiseless, 4), plan_lib.Segment(seeded, 4)):
      for segments in ([spoiled, plan_lib.Segment(_PLAN, 1)], [plan_lib.Segment(_PLAN, 1), spoiled]):
        self.assertIsNone(plan_lib.epsilon_of(segments))
        self.assertIsNone(plan_lib.training_epsilon_of(segments))
        self.assertNotEmpty(plan_lib.why_no_promise(segments))


class LearnedTest(parameterized.TestCase):
  _SPENT = guarantees.Cost(2.0, 4e-5)

  def test_is_spent_before_the_first_round(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=self._SPENT)
    self.assertEqual((plan.epsilon(0), _training_epsilon(plan, 0)), (2.0, 0.0))
    alone = dataclasses.replace(_PLAN, delta=plan.training_delta)
    self.assertAlmostEqual(plan.epsilon(7), 2.0 + _epsilon(alone, 7), places=12)
    self.assertGreater(_training_epsilon(plan, 7), _epsilon(_PLAN, 7))

  def test_the_target_is_for_all_of_it(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=self._SPENT).calibrated(5.0, 20)
    self.assertBetween(plan.epsilon(20), 4.9, 5.0)
    self.assertBetween(_training_epsilon(plan, 20), 2.9, 3.0)

  @parameterized.parameters(1.0, 2.0)
  def test_a_target_that_the_data_set_has_spent(self, target: float) -> None:
    with self.assertRaisesRegex(ValueError, f'above 2, which the data set alone has spent, found {target:g}'):
      dataclasses.replace(_PLAN, learned=self._SPENT).calibrated(target, 20)

  def test_a_delta_that_the_data_set_has_spent(self) -> None:
    spent = guarantees.Cost(1.0, _PLAN.delta or 0.0)
    with self.assertRaisesRegex(ValueError, 'Expected a delta above 0.0001, which the data set alone has spent'):
      dataclasses.replace(_PLAN, learned=spent)

  def test_without_noise_there_is_no_promise(self) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=0.0, learned=self._SPENT)
    self.assertEqual((plan.epsilon(3), _training_epsilon(plan, 3), plan.training_delta), (None, None, None))


if __name__ == '__main__':
  absltest.main()
