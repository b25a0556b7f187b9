"""Tests that FedProx is that of the paper, and FedAvg without its proximal term."""

import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_prox
from tff_tasks.algorithms import local_algorithm
from tff_tasks.privacy import plan as plan_lib

_MU = 0.6


class FedProxTest(algorithm_rounds.RoundsTestCase):
  def setUp(self) -> None:
    super().setUp()
    self._toy = algorithm_reference.Toy(self.shards)

  def test_minimizes_the_objective_of_the_paper(self) -> None:
    ours = self.rounds.run(fed_prox.FedProx(_MU)).weights
    algorithm_rounds.assert_close(ours, _run_reference(self._toy, _MU))
    self.assertGreater(algorithm_rounds.distance(ours, self.rounds.run(fed_avg.FedAvg()).weights), 1e-2)

  def test_equals_tffs_but_for_the_sign_of_its_term(self) -> None:
    """TFF 0.87 adds `mu * (initial - weights)` to the gradient, which drives clients away from the server's weights."""
    build = functools.partial(
      tff.learning.algorithms.build_unweighted_fed_prox,
      proximal_strength=_MU,
      client_optimizer_fn=tff.learning.optimizers.build_sgdm(self._toy.training.learning_rate),
      server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )
    theirs = algorithm_reference.run_tffs(build, self._toy)
    algorithm_rounds.assert_close(self.rounds.run(_Repelled(-_MU)).weights, theirs)
    self.assertGreater(algorithm_rounds.distance(self.rounds.run(fed_prox.FedProx(_MU)).weights, theirs), 1e-2)

  @parameterized.parameters(True, False)
  def test_without_the_term_it_is_fed_avg_bit_for_bit(self, use_xla: bool) -> None:
    kinds: list[local_algorithm.Algorithm] = [fed_prox.FedProx(0.0), fed_avg.FedAvg()]
    ours, theirs = (self.rounds.run(kind, use_xla=use_xla).weights for kind in kinds)
    np.testing.assert_array_equal(ours, theirs)

  @parameterized.named_parameters(('plain', algorithm_rounds.PLAIN), ('private', algorithm_rounds.PRIVATE))
  def test_both_runtimes_are_equal(self, plan: plan_lib.PrivacyPlan) -> None:
    rounds = dataclasses.replace(self.rounds, plan=plan)
    theirs = rounds.run(fed_prox.FedProx(_MU), 'tff').weights
    for use_xla in (False, True):
      algorithm_rounds.assert_close(rounds.run(fed_prox.FedProx(_MU), 'local', use_xla).weights, theirs)

  def test_the_clip_and_the_noise_are_those_of_the_plan(self) -> None:
    rounds = dataclasses.replace(self.rounds, plan=algorithm_rounds.PRIVATE)
    moved = []
    kinds: list[local_algorithm.Algorithm] = [fed_avg.FedAvg(), fed_prox.FedProx(_MU)]
    for kind in kinds:
      found = rounds.run(kind, cohorts=(algorithm_rounds.COHORT,))
      self.assertGreater(found.norms.max(), rounds.plan.clip_norm)
      moved.append(found.weights - algorithm_rounds.begin())
    # The noise is the same, so all that differs is two sums of three updates of at most the clip.
    self.assertLessEqual(np.linalg.norm(moved[0] - moved[1]), 2 * (rounds.plan.clip_norm or 0.0) * 1.001)


@dataclasses.dataclass(frozen=True)
class _Repelled(fed_prox.FedProx):
  """FedProx whose strength may be negative."""

  def __post_init__(self) -> None:
    pass


def _run_reference(toy: algorithm_reference.Toy, mu: float) -> np.ndarray:
  """Returns the weights after gradient descent of clients on loss + mu / 2 * ||weights - initial||^2."""
  weights = algorithm_rounds.begin().astype(float)
  for cohort in algorithm_rounds.TWICE:
    trained = [toy.train(client, weights, pull=mu) for client in cohort]
    weights = np.mean(trained, axis=0)
  return weights


if __name__ == '__main__':
  absltest.main()
