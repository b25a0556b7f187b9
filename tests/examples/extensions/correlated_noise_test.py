"""Tests a privacy mechanism that is outside of the packages, as a user would write it."""

import dataclasses
import os

from absl.testing import absltest
import numpy as np

from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tests.tff_tasks.population.samplers import draws
from tff_tasks.privacy import segments as segments_lib

_NAME = 'examples.extensions.correlated_noise:CorrelatedNoise'
_PLAN = dataclasses.replace(draws.private('min_separation', ('separation=4',)), mechanism=_NAME)


def _options(taken_back: float) -> tuple[str, ...]:
  return (f'taken_back={taken_back}',)


class CorrelatedNoiseTest(absltest.TestCase):
  def test_trains_on_both_runtimes_and_resumes_with_the_same_noise(self) -> None:
    folder = self.create_tempdir().full_path
    shards, weights = fakes.write_shards(os.path.join(folder, 'shards')), []
    for runtime in ('local', 'local', 'tff'):
      model, ledger = runs.train_and_load(
        shards,
        os.path.join(folder, runtime),
        runtime=runtime,
        sampling='min_separation',
        sampling_options=['separation=2'],
        mechanism=_NAME,
        quantization_bits=0,  # Rounding is random: of bits that runtimes compute differently.
        seed=1,
        mechanism_options=_options(1.0),
      )
      weights.append(model.weights)
      os.remove(os.path.join(folder, runtime, 'secret/checkpoints/round_000004.ckpt'))
    self.assertIn('Gaussian noise of which the next round takes back 100%', ledger['mechanism'])
    for first, resumed, theirs in zip(*weights, strict=True):
      np.testing.assert_array_equal(first, resumed)
      np.testing.assert_allclose(first, theirs, atol=1e-5)

  def test_what_is_taken_back_costs_more_at_the_same_draws(self) -> None:
    plans = [dataclasses.replace(_PLAN, mechanism_options=_options(part)) for part in (0.0, 0.5, 1.0)]
    none, half, all_of_it = (segments_lib.epsilon_of_plan(plan, 9) or 0.0 for plan in plans)
    self.assertLess(0.0, none)
    self.assertLess(none, half)
    self.assertLess(half, all_of_it)

  def test_refuses_more_than_there_is(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected taken_back of 0 to 1, found 1.5: set it in --mechanism_options'):
      dataclasses.replace(_PLAN, mechanism_options=_options(1.5))


if __name__ == '__main__':
  absltest.main()
