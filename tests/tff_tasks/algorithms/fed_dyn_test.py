"""Tests that FedDyn is that of the paper."""

from collections.abc import Sequence
import dataclasses

from absl.testing import absltest
import numpy as np

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import fed_dyn

_POPULATION = algorithm_rounds.PLAIN.population
_ALPHA = 0.3


class FedDynTest(algorithm_rounds.RoundsTestCase):
  def setUp(self) -> None:
    super().setUp()
    self._toy = algorithm_reference.Toy(self.shards)

  def test_is_that_of_the_paper_on_both_runtimes(self) -> None:
    weights, gradients = _run_reference(self._toy, algorithm_rounds.CHANGING)
    for runtime, use_xla in (('local', False), ('local', True), ('tff', False)):
      found = self.rounds.run(fed_dyn.FedDyn(_ALPHA), runtime, use_xla, algorithm_rounds.CHANGING)
      algorithm_rounds.assert_close(found.weights, weights)
      algorithm_rounds.assert_close(found.memory, gradients)
    plain = self.rounds.run(fed_avg.FedAvg(), cohorts=algorithm_rounds.CHANGING)
    self.assertGreater(algorithm_rounds.distance(plain.weights, weights), 0.05)

  def test_trains_with_clip_and_noise_on_both_runtimes(self) -> None:
    rounds = dataclasses.replace(self.rounds, plan=algorithm_rounds.PRIVATE)
    ours, theirs = (rounds.run(fed_dyn.FedDyn(_ALPHA), runtime).weights for runtime in ('local', 'tff'))
    algorithm_rounds.assert_close(ours, theirs)

  def test_clients_keep_what_the_server_gets(self) -> None:
    clip_norm = 0.01
    rounds = dataclasses.replace(self.rounds, plan=dataclasses.replace(algorithm_rounds.PLAIN, clip_norm=clip_norm))
    found = rounds.run(fed_dyn.FedDyn(_ALPHA), cohorts=(algorithm_rounds.COHORT,))
    self.assertGreater(found.norms.min(), 2 * clip_norm)
    kept = found.memory[list(algorithm_rounds.COHORT)]
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), _ALPHA * clip_norm, rtol=1e-3)
    # The mean of what was clipped, and once more its share of the population, which the server adds.
    moved = kept.sum(0) / _ALPHA * (1 / len(kept) + 1 / _POPULATION)
    np.testing.assert_allclose(algorithm_rounds.begin() - found.weights, moved, atol=1e-5)

  def test_nothing_travels_beside_the_update(self) -> None:
    built = algorithm_rounds.build_process(fed_dyn.FedDyn(_ALPHA))
    self.assertEqual((built.upload_numbers, built.download_numbers), (0, 0))
    self.assertEqual(built.memory_size, algorithm_rounds.begin().size)


def _run_reference(toy: algorithm_reference.Toy, cohorts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the weights and the clients' gradients after the rounds of algorithm 1, with SGD for the minimum."""
  weights = algorithm_rounds.begin().astype(float)
  total, gradients = np.zeros_like(weights), np.zeros((_POPULATION, weights.size))
  for cohort in cohorts:
    trained = []
    for client in cohort:
      trained.append(toy.train(client, weights, drift=-gradients[client], pull=_ALPHA))
      gradients[client] -= _ALPHA * (trained[-1] - weights)
    total = total - _ALPHA / _POPULATION * np.sum([one - weights for one in trained], axis=0)
    weights = np.mean(trained, axis=0) - total / _ALPHA
  return weights, gradients


if __name__ == '__main__':
  absltest.main()
