"""Tests an algorithm that is outside of the packages, as a user would write it."""

from absl.testing import absltest
import numpy as np

from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import registry

_NAME = 'examples.extensions.frozen_layers:FrozenLayers'


class FrozenLayersTest(algorithm_rounds.RoundsTestCase):
  def test_trains_the_last_layers_to_the_same_weights_on_both_runtimes(self) -> None:
    algorithm = registry.build(_NAME, ['frozen=1'])
    ours, theirs = (self.rounds.run(algorithm, name).weights for name in ('local', 'tff'))
    algorithm_rounds.assert_close(ours, theirs)
    begin, frozen = algorithm_rounds.begin(), algorithm_rounds.build_model().initial_weights[0].size
    np.testing.assert_array_equal(ours[:frozen], begin[:frozen])
    self.assertGreater(algorithm_rounds.distance(ours[frozen:], begin[frozen:]), 1e-2)

  def test_with_none_frozen_it_is_fed_avg(self) -> None:
    kinds = registry.build(_NAME, ['frozen=0']), fed_avg.FedAvg()
    ours, others = (self.rounds.run(kind).weights for kind in kinds)
    algorithm_rounds.assert_close(ours, others)

  def test_a_number_below_zero_is_refused(self) -> None:
    with self.assertRaisesRegex(
      ValueError, 'Expected frozen of at least 0, found -1: give --algorithm_options=frozen=1'
    ):
      registry.build(_NAME, ['frozen=-1'])
    registry.build(_NAME, ['frozen=1'])


if __name__ == '__main__':
  absltest.main()
