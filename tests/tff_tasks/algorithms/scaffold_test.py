"""Tests that SCAFFOLD is that of the paper."""

from collections.abc import Sequence
import dataclasses

from absl.testing import absltest
import numpy as np

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import scaffold

_POPULATION = algorithm_rounds.PLAIN.population


class ScaffoldTest(algorithm_rounds.RoundsTestCase):
  training = dataclasses.replace(algorithm_rounds.TRAINING, schedule='linear', total_rounds=4)

  def setUp(self) -> None:
    super().setUp()
    self._toy = algorithm_reference.Toy(self.shards, self.training)

  def test_is_that_of_the_paper_on_both_runtimes(self) -> None:
    weights, controls = _run_reference(self._toy, algorithm_rounds.CHANGING)
    for runtime, use_xla in (('local', False), ('local', True), ('tff', False)):
      found = self.rounds.run(scaffold.Scaffold(), runtime, use_xla, algorithm_rounds.CHANGING)
      algorithm_rounds.assert_close(found.weights, weights)
      algorithm_rounds.assert_close(found.memory, controls)
    plain = self.rounds.run(fed_avg.FedAvg(), cohorts=algorithm_rounds.CHANGING)
    self.assertGreater(algorithm_rounds.distance(plain.weights, weights), 0.05)

  def test_the_first_round_is_that_of_fed_avg(self) -> None:
    cohorts = algorithm_rounds.CHANGING[:1]
    ours, theirs = (self.rounds.run(kind, cohorts=cohorts) for kind in (scaffold.Scaffold(), fed_avg.FedAvg()))
    algorithm_rounds.assert_close(ours.weights, theirs.weights)


def _run_reference(toy: algorithm_reference.Toy, cohorts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the weights and the clients' control variates after the rounds of algorithm 1, option II."""
  weights = algorithm_rounds.begin().astype(float)
  server, own = np.zeros_like(weights), np.zeros((_POPULATION, weights.size))
  for index, cohort in enumerate(cohorts):
    moves, changes = [], []
    for client in cohort:
      trained = toy.train(client, weights, drift=server - own[client], index=index)
      length = toy.steps(client) * toy.rate(index)
      new = own[client] - server + (weights - trained) / length
      moves.append(trained - weights)
      changes.append(new - own[client])
      own[client] = new
    weights = weights + np.mean(moves, axis=0)
    server = server + len(cohort) / _POPULATION * np.mean(changes, axis=0)
  return weights, own


if __name__ == '__main__':
  absltest.main()
