import dataclasses
import math

from absl.testing import absltest
from absl.testing import parameterized

from contracts import guarantees
from tff_tasks.privacy import accountant
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib

_PLAN = plan_lib.PrivacyPlan(
  population=932, clients_per_round=250, clip_norm=0.3, quantization_bits=8, noise_multiplier=2.08, delta=1e-4
)


def _training_epsilon(plan: plan_lib.PrivacyPlan, rounds: int) -> float | None:
  return segments_lib.training_epsilon_of([segments_lib.Segment(plan, rounds)])


def _epsilon(plan: plan_lib.PrivacyPlan, rounds: int) -> float:
  epsilon = segments_lib.epsilon_of_plan(plan, rounds)
  assert epsilon is not None
  return epsilon


class EpsilonTest(parameterized.TestCase):
  def test_epsilon_grows_with_rounds(self) -> None:
    spent = [_epsilon(_PLAN, rounds) for rounds in (0, 1, 10, 140)]
    self.assertEqual(spent[0], 0.0)
    self.assertEqual(spent, sorted(spent))
    self.assertIsNone(segments_lib.epsilon_of_plan(dataclasses.replace(_PLAN, noise_multiplier=0.0), 10))

  @parameterized.parameters('poisson', 'fixed', 'cyclic')
  def test_calibration_meets_the_target_and_no_more(self, sampling: str) -> None:
    plan = segments_lib.calibrated(dataclasses.replace(_PLAN, sampling=sampling), 7.0, 40)
    self.assertLessEqual(segments_lib.epsilon_of_plan(plan, 40), 7.0)
    less = dataclasses.replace(plan, noise_multiplier=plan.noise_multiplier - 0.001)
    self.assertGreater(segments_lib.epsilon_of_plan(less, 40), 7.0)

  def test_calibration_finds_the_noise_of_a_seeded_run_too(self) -> None:
    seeded = dataclasses.replace(_PLAN, is_seeded=True)
    self.assertEqual(
      segments_lib.calibrated(seeded, 7.0, 40).noise_multiplier,
      segments_lib.calibrated(_PLAN, 7.0, 40).noise_multiplier,
    )

  def test_calibration_says_when_it_cannot(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected a target_epsilon of at most 100, found 101, .*nothing of use'):
      segments_lib.calibrated(_PLAN, 101, 10)
    with self.assertRaisesRegex(ValueError, 'Expected a target_epsilon'):
      segments_lib.calibrated(_PLAN, 1e-5, 1000)

  @parameterized.product(sampling=('cyclic', 'min_separation'), cut=(1, 2, 3, 4, 5, 7))
  def test_rounds_in_two_segments_cost_no_less(self, sampling: str, cut: int) -> None:
    """Of a run that lost a checkpoint, some rounds are in a segment of their own."""
    options = ('separation=3',) if sampling == 'min_separation' else ()
    plan = dataclasses.replace(_PLAN, sampling=sampling, sampling_options=options, noise_multiplier=3.0)
    parts = segments_lib.epsilon_of([segments_lib.Segment(plan, cut), segments_lib.Segment(plan, 8 - cut)])
    self.assertGreaterEqual(parts or math.inf, _epsilon(plan, 8))


class NoPromiseTest(parameterized.TestCase):
  def test_there_is_a_reason_where_there_is_no_epsilon(self) -> None:
    self.assertEqual(segments_lib.why_no_promise([segments_lib.Segment(_PLAN, 20)]), '')
    for plan, reason in (
      (dataclasses.replace(_PLAN, noise_multiplier=0.0), 'this run adds no noise'),
      (dataclasses.replace(_PLAN, is_seeded=True), 'the noise comes from --seed'),
      (dataclasses.replace(_PLAN, noise_multiplier=0.001), 'epsilon is above 100'),
    ):
      self.assertStartsWith(segments_lib.why_no_promise([segments_lib.Segment(plan, 20)]), reason)
      self.assertIsNone(segments_lib.epsilon_of_plan(plan, 20))
      self.assertIsNone(_training_epsilon(plan, 20))

  @parameterized.parameters(1e-9, 0.0011, 0.0012, 0.04, 0.06)
  def test_little_noise_is_no_error_in_any_round(self, noise: float) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=noise, clients_per_round=932)
    self.assertEqual([segments_lib.epsilon_of_plan(plan, rounds) for rounds in (10, 20, 140)], [None] * 3)

  def test_a_later_round_may_be_beyond_use(self) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=0.3, clients_per_round=932)
    self.assertLess(_epsilon(plan, 1), 100)
    self.assertIsNone(segments_lib.epsilon_of_plan(plan, 140))

  def test_the_data_set_counts_too(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=guarantees.Cost(99.0, 1e-5))
    self.assertIsNone(segments_lib.epsilon_of_plan(plan, 140))
    self.assertIn('above 100', segments_lib.why_no_promise([segments_lib.Segment(plan, 140)]))


class SegmentsTest(absltest.TestCase):
  _OTHER = dataclasses.replace(_PLAN, noise_multiplier=1.5, clients_per_round=100, sampling='fixed')

  def test_of_one_plan_are_one(self) -> None:
    segments = [segments_lib.Segment(_PLAN, rounds) for rounds in (20, 0, 30)]
    self.assertEqual(segments_lib.epsilon_of(segments), segments_lib.epsilon_of_plan(_PLAN, 50))

  def test_of_several_plans_are_composed(self) -> None:
    segments = [segments_lib.Segment(_PLAN, 20), segments_lib.Segment(self._OTHER, 30)]
    costs = [_PLAN.event(20), self._OTHER.event(30)]
    self.assertEqual(segments_lib.epsilon_of(segments), accountant.epsilon(costs, 1e-4))
    alone = max(_epsilon(_PLAN, 20), _epsilon(self._OTHER, 30))
    self.assertGreater(segments_lib.epsilon_of(segments), alone)
    self.assertLess(segments_lib.epsilon_of(segments), _epsilon(_PLAN, 20) + _epsilon(self._OTHER, 30))

  def test_what_the_data_set_cost_counts_once(self) -> None:
    cost = guarantees.Cost(1.0, 5e-5)
    first, second = (dataclasses.replace(plan, learned=cost) for plan in (_PLAN, self._OTHER))
    segments = [segments_lib.Segment(first, 20), segments_lib.Segment(second, 30)]
    costs = [first.event(20), second.event(30)]
    self.assertEqual(segments_lib.training_epsilon_of(segments), accountant.epsilon(costs, 5e-5))
    self.assertEqual(segments_lib.epsilon_of(segments), 1.0 + accountant.epsilon(costs, 5e-5))

  def test_rounds_of_one_secret_are_accounted_for_together(self) -> None:
    """With correlated noise, two parts of a run cost more than two runs of that many rounds with a secret each."""
    plan = dataclasses.replace(
      _PLAN, sampling='min_separation', sampling_options=('separation=2',), mechanism='bisr', noise_multiplier=6.0
    )
    first, lost = (segments_lib.Segment(plan, 4, 'run', 0, 1), segments_lib.Segment(plan, 4, 'run', 0, 5))
    whole = _epsilon(plan, 8)
    self.assertEqual(segments_lib.epsilon_of([first, lost]), whole)
    self.assertEqual(segments_lib.events([first, lost]), [plan.event(8)])
    for other in (lost._replace(attempt=1), lost._replace(run_id='branch')):
      self.assertEqual(segments_lib.events([first, other]), [plan.event(4), plan.event(4)])
      self.assertLess(segments_lib.epsilon_of([first, other]), whole)
    again = segments_lib.Segment(plan, 4, 'run', 1, 5)
    self.assertEqual(segments_lib.events([first, lost, again]), [plan.event(8), plan.event(4)])

  def test_one_without_a_promise_spoils_all(self) -> None:
    noiseless, seeded = dataclasses.replace(_PLAN, noise_multiplier=0.0), dataclasses.replace(_PLAN, is_seeded=True)
    for spoiled in (segments_lib.Segment(noiseless, 4), segments_lib.Segment(seeded, 4)):
      for segments in ([spoiled, segments_lib.Segment(_PLAN, 1)], [segments_lib.Segment(_PLAN, 1), spoiled]):
        self.assertIsNone(segments_lib.epsilon_of(segments))
        self.assertIsNone(segments_lib.training_epsilon_of(segments))
        self.assertNotEmpty(segments_lib.why_no_promise(segments))


class LearnedTest(parameterized.TestCase):
  _SPENT = guarantees.Cost(2.0, 4e-5)

  def test_is_spent_before_the_first_round(self) -> None:
    plan = dataclasses.replace(_PLAN, learned=self._SPENT)
    self.assertEqual((segments_lib.epsilon_of_plan(plan, 0), _training_epsilon(plan, 0)), (2.0, 0.0))
    alone = dataclasses.replace(_PLAN, delta=plan.training_delta)
    self.assertAlmostEqual(segments_lib.epsilon_of_plan(plan, 7), 2.0 + _epsilon(alone, 7), places=12)
    self.assertGreater(_training_epsilon(plan, 7), _epsilon(_PLAN, 7))

  def test_the_target_is_for_all_of_it(self) -> None:
    plan = segments_lib.calibrated(dataclasses.replace(_PLAN, learned=self._SPENT), 5.0, 20)
    self.assertBetween(segments_lib.epsilon_of_plan(plan, 20), 4.9, 5.0)
    self.assertBetween(_training_epsilon(plan, 20), 2.9, 3.0)

  @parameterized.parameters(1.0, 2.0)
  def test_a_target_that_the_data_set_has_spent(self, target: float) -> None:
    with self.assertRaisesRegex(ValueError, f'above 2, which the data set alone has spent, found {target:g}'):
      segments_lib.calibrated(dataclasses.replace(_PLAN, learned=self._SPENT), target, 20)

  def test_a_delta_that_the_data_set_has_spent(self) -> None:
    spent = guarantees.Cost(1.0, _PLAN.delta or 0.0)
    with self.assertRaisesRegex(ValueError, 'Expected a delta above 0.0001, which the data set alone has spent'):
      dataclasses.replace(_PLAN, learned=spent)

  def test_without_noise_there_is_no_promise(self) -> None:
    plan = dataclasses.replace(_PLAN, noise_multiplier=0.0, learned=self._SPENT)
    self.assertEqual(
      (segments_lib.epsilon_of_plan(plan, 3), _training_epsilon(plan, 3), plan.training_delta), (None, None, None)
    )


if __name__ == '__main__':
  absltest.main()
