"""Tests an aggregation that is outside of the packages, as a user would write it."""

import dataclasses
import io
import os

from absl.testing import absltest
import numpy as np

from contracts import released_model
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.aggregation import registry
from tff_tasks.algorithms import fed_avg
from tff_tasks.training import run as run_lib

_NAME = 'examples.extensions.robust_mean:RobustMean'
_ONCE = (algorithm_rounds.COHORT,)


class RobustMeanTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    self._folder = self.create_tempdir().full_path

  def test_trains_on_both_runtimes_to_the_same_weights(self) -> None:
    shards = algorithm_rounds.write_shards(os.path.join(self._folder, 'shards'))
    plain = algorithm_rounds.Rounds(shards)
    robust = dataclasses.replace(plain, aggregation=registry.build(_NAME))
    ours, theirs = (robust.run(fed_avg.FedAvg(), name).weights for name in ('local', 'tff'))
    algorithm_rounds.assert_close(ours, theirs)
    mean = plain.run(fed_avg.FedAvg(), cohorts=_ONCE)
    self.assertGreater(mean.norms.max(), 1.0)  # The clip that the factory begins with.
    clipped = robust.run(fed_avg.FedAvg(), cohorts=_ONCE).weights
    self.assertBetween(algorithm_rounds.distance(clipped, mean.weights), 0.05, 1.0)
    self.assertGreater(algorithm_rounds.distance(ours, clipped), 0.05)

  def test_a_resumed_run_has_the_state_of_the_factory(self) -> None:
    shards = fakes.write_shards(os.path.join(self._folder, 'shards'))
    config = dataclasses.replace(
      fakes.CONFIG,
      output_dir=os.path.join(self._folder, 'run'),
      aggregation=_NAME,
      quantization_bits=0,
      noise_multiplier=0.0,
      clip_norm=None,
      client_learning_rate=5.0,  # Updates longer than the clip, which follows them from round to round.
      seed=1,
    )
    registry.check(config)
    weights = []
    for _ in range(2):
      run_lib.train(config, shards, '', io.StringIO())
      model, ledger = released_model.load_with_ledger(config.output_dir)
      self.assertEqual((model.round_number, ledger['algorithm']), (4, f'fed_avg, {_NAME}'))
      weights.append(model.weights)
      os.remove(os.path.join(config.output_dir, 'secret/checkpoints/round_000004.ckpt'))
    for one, other in zip(*weights, strict=True):
      np.testing.assert_array_equal(one, other)


if __name__ == '__main__':
  absltest.main()
