"""One client in eight sends an update that is scaled by -1000: how far the model moves, by aggregation."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.tff_tasks import algorithm_rounds
from tff_tasks.aggregation import registry
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import local_algorithm

_ATTACKER = 1
_COHORT = tuple(range(8))


@dataclasses.dataclass(frozen=True)
class Attacked(fed_avg.FedAvg):
  """FedAvg in which one client sends the opposite of its update, much longer."""

  def finish(self, client: local_algorithm.Client, trained: local_algorithm.Weights) -> local_algorithm.Update:
    honest = super().finish(client, trained)
    scale = tf.where(tf.equal(client.dataset.index, _ATTACKER), -1000.0, 1.0)
    return honest._replace(update=tuple(scale * part for part in honest.update))


class AttackTest(algorithm_rounds.RoundsTestCase):
  def setUp(self) -> None:
    super().setUp()
    self.rounds = dataclasses.replace(
      self.rounds, plan=dataclasses.replace(algorithm_rounds.PLAIN, clients_per_round=7)
    )
    honest = self.rounds.run(fed_avg.FedAvg(), cohorts=[[client for client in _COHORT if client != _ATTACKER]])
    self._honest, self._step = honest.weights, algorithm_rounds.begin() - honest.weights

  def _find(self, name: str, *options: str, runtime: str = 'local', use_xla: bool = False) -> np.ndarray:
    attacked = dataclasses.replace(self.rounds, aggregation=registry.build(name, options))
    return attacked.run(Attacked(), runtime, use_xla, cohorts=[_COHORT]).weights

  def _error(self, weights: np.ndarray) -> float:
    """Returns how far the model is from that of the honest clients, over the step that they take."""
    return float(np.linalg.norm(weights - self._honest) / np.linalg.norm(self._step))

  def test_the_mean_moves_far(self) -> None:
    self.assertGreater(self._error(self._find('mean')), 100)

  @parameterized.parameters(
    ('median',),
    ('trimmed_mean', 'share=0.125'),
    ('krum', 'byzantine=1'),
    ('krum', 'byzantine=1', 'selected=5'),
  )
  def test_others_stay_near_the_honest_mean(self, name: str, *options: str) -> None:
    # Clients differ by more than their mean: Krum takes one of them.
    self.assertBetween(self._error(self._find(name, *options)), 0.01, 1.5)

  def test_each_runtime_selects_the_same_client(self) -> None:
    ours = self._find('krum', 'byzantine=1')
    algorithm_rounds.assert_close(self._find('krum', 'byzantine=1', runtime='tff'), ours)
    algorithm_rounds.assert_close(self._find('krum', 'byzantine=1', use_xla=True), ours)


if __name__ == '__main__':
  absltest.main()
