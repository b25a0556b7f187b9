"""Tests an aggregation that is outside of the packages, as a user would write it."""

from collections.abc import Sequence
import dataclasses
import io
import os
from typing import Any

from absl.testing import absltest
import numpy as np

from contracts import released_model
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import compiled_once
from tests.tff_tasks import fakes
from tff_tasks.aggregation import registry
from tff_tasks.algorithms import fed_avg
from tff_tasks.training import run as run_lib

_NAME = 'examples.extensions.robust_mean:RobustMean'


class RobustMeanTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    self._folder = self.create_tempdir().full_path
    self._shards = fakes.write_shards(os.path.join(self._folder, 'shards'))

  def _train(self, name: str, **changes: Any) -> Sequence[np.ndarray]:
    """Returns the weights of a run, which is resumed if it has begun."""
    config = dataclasses.replace(
      fakes.CONFIG,
      output_dir=os.path.join(self._folder, name),
      aggregation=_NAME,
      quantization_bits=0,
      noise_multiplier=0.0,
      seed=1,
      **changes,
    )
    registry.check(config)
    run_lib.train(config, self._shards, '', io.StringIO())
    model, ledger = released_model.load_with_ledger(config.output_dir)
    self.assertEqual(ledger['algorithm'], f'fed_avg, {_NAME}')
    return model.weights

  def test_trains_on_both_runtimes_to_the_same_weights_also_if_resumed(self) -> None:
    ours, theirs = (self._train(runtime, runtime=runtime, total_rounds=4) for runtime in ('local', 'tff'))
    self._train('resumed', total_rounds=2)
    resumed = self._train('resumed', total_rounds=4)
    for one, other, third in zip(ours, theirs, resumed, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-5)
      np.testing.assert_array_equal(one, third)

  def test_is_the_mean_of_those_that_come_while_the_bounds_are_large(self) -> None:
    shards = algorithm_rounds.write_shards(os.path.join(self._folder, 'toy'))
    rounds = algorithm_rounds.Rounds(shards, algorithm_rounds.TRAINING)
    expected = rounds.run(fed_avg.FedAvg(), cohorts=(algorithm_rounds.COHORT,))
    self.assertLess(expected.norms.max(), 1.0)  # The clip that the factory begins with.
    robust = dataclasses.replace(rounds, aggregation=registry.build(_NAME))
    found = robust.run(fed_avg.FedAvg(), cohorts=(algorithm_rounds.COHORT,))
    algorithm_rounds.assert_close(found.weights, expected.weights)


if __name__ == '__main__':
  absltest.main()
