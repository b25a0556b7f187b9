import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import dp_accounting
import numpy as np

from tff_tasks.compression import codec as codec_lib
from tff_tasks.compression import fine_grid
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import events
from tff_tasks.privacy import accountant
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.privacy import segments as segments_lib

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


def _epsilon(plan: plan_lib.PrivacyPlan, rounds: int) -> float:
  epsilon = segments_lib.epsilon_of_plan(plan, rounds)
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

  def test_an_encoding_is_built_once(self) -> None:
    """So noise, ledger and graph have the same one, even of a compression that builds another one each time."""
    for plan in (_PLAN, dataclasses.replace(_PLAN, quantization_bits=0)):
      self.assertIs(plan.codec(50), plan.codec(50))
      self.assertNotEqual(plan.codec(60), plan.codec(50))

  def test_noise_is_for_the_bound_after_rounding(self) -> None:
    plan = dataclasses.replace(_PLAN, quantization_bits=4)
    bound = codec_lib.Codec(20_000, 0.3, 4).norm_bound
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
      segments_lib.calibrated(plan, 7.0, 40)
    self.assertEqual(
      segments_lib.epsilon_of_plan(dataclasses.replace(_PLAN, sampling=f'{__name__}:Proved'), 4), _gaussians(4)
    )

  def test_one_whose_accounting_has_no_proof_is_refused(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected rounds that are a Gaussian, .*found SampledWithoutReplacement'):
      dataclasses.replace(_PLAN, sampling=f'{__name__}:Unproved')

  def test_a_sampler_may_ask_for_fewer_clients_only(self) -> None:
    with self.assertRaisesRegex(ValueError, r'Expected 1 to 233 \(all that --sampling=min_separation can ask for'):
      dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=4',))
    with self.assertRaisesRegex(ValueError, 'found separation=2000 for 932 training clients: set a smaller separation'):
      dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=2000',))
    dataclasses.replace(_PLAN, sampling='min_separation', sampling_options=('separation=20',), clients_per_round=40)


if __name__ == '__main__':
  absltest.main()
