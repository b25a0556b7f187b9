"""Tests that a round takes weights that came with the clients, on both runtimes."""

import contextlib
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks import algorithm_rounds
from tff_tasks.algorithms import trained_elsewhere
from tff_tasks.population import client_data
from tff_tasks.runtime import registry

_SERVER_RATE = 1.0


class _Brought:
  """Clients whose weights are those of the server less their index, each."""

  def __init__(self, initial: np.ndarray) -> None:
    self.size = len(initial)
    self._initial = initial

  def fill(self, clients: list[int], block: Any) -> None:
    for row, client in enumerate(clients):
      block.memory[row] = self._initial - client


class TrainedElsewhereTest(algorithm_rounds.RoundsTestCase):
  @parameterized.parameters('local', 'tff')
  def test_updates_are_what_the_weights_that_clients_brought_differ_by(self, runtime: str) -> None:
    built = algorithm_rounds.build_process(
      trained_elsewhere.TrainedElsewhere(),
      algorithm_rounds.TRAINING,
      algorithm_rounds.PLAIN,
      _SERVER_RATE,
      algorithm_rounds.MEAN,
    )
    self.assertEqual(built.memory_size, 0)
    with contextlib.closing(registry.build_runtime(runtime, built.process, use_xla=False)) as ran:
      state = ran.initialize()
      brought = _Brought(algorithm_rounds.flat(state))
      source = client_data.ClientDataSource(
        self.shards, algorithm_rounds.TRAINING.batch_size, 8, algorithm_rounds.SEED, brought
      )
      cohort = source.cohort(1, np.array([0, 1, 4]))
      result = ran.next(state, cohort)
    assert result.report is not None
    self.assertCountEqual(result.report.index.tolist(), cohort.clients.tolist())
    share = cohort.clients.sum() / algorithm_rounds.PLAIN.clients_per_round
    np.testing.assert_allclose(
      algorithm_rounds.flat(result.state), algorithm_rounds.flat(state) - share, rtol=0, atol=1e-5
    )


if __name__ == '__main__':
  absltest.main()
