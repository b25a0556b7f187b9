"""Tests an algorithm that is outside of the packages, as a user would write it."""

import os

from absl.testing import absltest
from absl.testing import parameterized

from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import registry

_NAME = 'examples.extensions.clipped_steps:ClippedSteps'


class ClippedStepsTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._rounds = algorithm_rounds.Rounds(shards)

  def test_trains_on_both_runtimes_to_the_same_weights(self) -> None:
    algorithm = registry.build(_NAME, ['max_gradient_norm=0.01'])
    ours, theirs = (self._rounds.run(algorithm, name, count=3)[0] for name in ('local', 'tff'))
    algorithm_rounds.assert_close(ours, theirs)
    self.assertGreater(algorithm_rounds.distance(ours, algorithm_rounds.build_model().initial_weights), 1e-3)

  def test_no_update_is_longer_than_its_steps(self) -> None:
    # 24 examples in batches of 4, twice: at most 12 steps, each of 0.5 times the bound.
    _, metrics = self._rounds.run(registry.build(_NAME, ['max_gradient_norm=0.01']), count=1)
    self.assertBetween(metrics['aggregator']['norm_max'], 1e-3, 12 * 0.5 * 0.01)

  def test_a_bound_that_no_gradient_reaches_changes_nothing(self) -> None:
    (ours, _), (others, _) = map(self._rounds.run, (registry.build(_NAME, ['max_gradient_norm=1e6']), fed_avg.FedAvg()))
    algorithm_rounds.assert_close(ours, others)


if __name__ == '__main__':
  absltest.main()
