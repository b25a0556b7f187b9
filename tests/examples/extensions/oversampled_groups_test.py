"""Tests a sampler that is outside of the packages, as a user would write it."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tests.tff_tasks.population.samplers import draws
from tff_tasks.privacy import segments as segments_lib

_NAME = 'examples.extensions.oversampled_groups:OversampledGroups'


class OversampledGroupsTest(parameterized.TestCase):
  def test_trains_on_both_runtimes_to_the_same_weights(self) -> None:
    folder = self.create_tempdir().full_path
    shards, weights = fakes.write_shards(os.path.join(folder, 'shards')), {}
    for runtime in ('local', 'tff'):
      model, ledger = runs.train_and_load(
        shards,
        os.path.join(folder, runtime),
        '--seed=1\n',
        runtime=runtime,
        sampling=_NAME,
        sampling_options=['share=0.5', 'factor=2.0'],
        total_rounds=3,
        quantization_bits=0,
        noise_multiplier=0.0,
        seed=1,
      )
      weights[runtime] = model.weights
      self.assertStartsWith(ledger['sampling'], 'Poisson: 50% of 8 clients with probability 0.6667, others 0.3333')
    for ours, theirs in zip(weights['local'], weights['tff'], strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-5)

  def test_the_group_comes_as_often_as_it_pays_for(self) -> None:
    """Fails by chance about once in 3,000 times for another seed: 50 clients, 4.5 standard deviations."""
    options = ('share=0.2', 'factor=3.0')
    shares = draws.joined(draws.plan(_NAME, options), 1_000).mean(axis=0)
    often, seldom = 0.6 / 1.4, 0.2 / 1.4
    is_often = shares > 0.28
    self.assertBetween(is_often.sum(), 2, 20)
    deviation = np.sqrt(often * (1 - often) / 1_000)
    self.assertLess(np.abs(shares - np.where(is_often, often, seldom)).max(), 4.5 * deviation)
    paid = draws.private('poisson', (), 50)
    self.assertLess(
      segments_lib.epsilon_of_plan(draws.private(_NAME, options), 5), segments_lib.epsilon_of_plan(paid, 5)
    )
    self.assertGreater(
      segments_lib.epsilon_of_plan(draws.private(_NAME, options), 5),
      segments_lib.epsilon_of_plan(draws.private('poisson'), 5),
    )

  @parameterized.parameters('share=1.5', 'factor=0.5')
  def test_refuses_options_out_of_range(self, option: str) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected 0 <= share <= 1 and factor >= 1'):
      draws.plan(_NAME, (option,))


if __name__ == '__main__':
  absltest.main()
