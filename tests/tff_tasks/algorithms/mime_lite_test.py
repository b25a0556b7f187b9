"""Tests that MimeLite is TFF's."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import local_sgd
from tff_tasks.algorithms import mime_lite

_PLAN = dataclasses.replace(algorithm_rounds.PLAIN, weighting='examples')
_TRAINING = local_sgd.LocalTraining(0.1, 4, 2, 'momentum')
_ROUNDS = (algorithm_rounds.COHORT, (0, 4, 7), (1, 5))


class MimeLiteTest(algorithm_rounds.RoundsTestCase):
  @parameterized.parameters('momentum', 'adam')
  def test_is_that_of_tff(self, optimizer: str) -> None:
    # Adam's steps are as long as its rate, which float errors of the first gradients turn around: a small one.
    training = _TRAINING if optimizer == 'momentum' else local_sgd.LocalTraining(0.01, 4, 2, 'adam')
    rounds = algorithm_rounds.Rounds(self.shards, training, _PLAN)
    build = functools.partial(
      tff.learning.algorithms.build_weighted_mime_lite,
      base_optimizer=training.build_optimizer(training.learning_rate),
    )
    theirs = algorithm_reference.run_tffs(build, algorithm_reference.Toy(self.shards, training), _ROUNDS)
    found = rounds.run(mime_lite.MimeLite(), cohorts=_ROUNDS).weights
    algorithm_rounds.assert_close(found, theirs)
    self.assertGreater(algorithm_rounds.distance(found, algorithm_rounds.begin()), 0.05)

  def test_a_round_of_nobody_changes_nothing(self) -> None:
    rounds = algorithm_rounds.Rounds(self.shards, _TRAINING, _PLAN)
    ours, others = (
      rounds.run(mime_lite.MimeLite(), cohorts=cohorts).weights for cohorts in (_ROUNDS, (_ROUNDS[0], (), *_ROUNDS[1:]))
    )
    algorithm_rounds.assert_close(ours, others)

  @parameterized.parameters(('local', True), ('tff', False))
  def test_the_runtimes_are_equal(self, runtime: str, use_xla: bool) -> None:
    rounds = algorithm_rounds.Rounds(self.shards, _TRAINING, _PLAN)
    ours, theirs = (
      rounds.run(mime_lite.MimeLite(), *how, cohorts=_ROUNDS).weights for how in (('local', False), (runtime, use_xla))
    )
    algorithm_rounds.assert_close(ours, theirs)


if __name__ == '__main__':
  absltest.main()
