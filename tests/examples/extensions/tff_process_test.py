"""Tests a whole process of TFF as an algorithm outside of the packages."""

import dataclasses

from absl.testing import absltest

from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import local_sgd
from tff_tasks.algorithms import mime_lite
from tff_tasks.algorithms import registry

_NAME = 'examples.extensions.tff_process:TffMimeLite'
_ROUNDS = (algorithm_rounds.COHORT, (0, 4, 7), (1, 5))


class TffProcessTest(algorithm_rounds.RoundsTestCase):
  training = local_sgd.LocalTraining(0.1, 4, 2, 'momentum')

  def test_is_our_mime_lite_on_both_runtimes(self) -> None:
    algorithm = registry.build(_NAME, ['momentum=0.9'])
    local, reference = (self.rounds.run(algorithm, name, cohorts=_ROUNDS).weights for name in ('local', 'tff'))
    algorithm_rounds.assert_close(local, reference)
    weighted = dataclasses.replace(self.rounds, plan=dataclasses.replace(algorithm_rounds.PLAIN, weighting='examples'))
    algorithm_rounds.assert_close(local, weighted.run(mime_lite.MimeLite(), cohorts=_ROUNDS).weights)
    self.assertGreater(algorithm_rounds.distance(local, algorithm_rounds.begin()), 0.05)


if __name__ == '__main__':
  absltest.main()
