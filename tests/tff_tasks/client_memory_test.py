"""Runs whose clients keep something from round to round: killed, resumed, branched from, and damaged."""

import contextlib
import dataclasses
import os
import sqlite3
from typing import Any
from unittest import mock

from absl.testing import absltest
import numpy as np

from contracts import released_model
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks import config as config_lib
from tff_tasks.training import checkpoints
from tff_tasks.training import program_state
from tff_tasks.training import run as run_lib

_CONFIG = {
  'algorithm': 'scaffold',
  'seed': 1,
  'clip_norm': None,
  'quantization_bits': 0,
  'noise_multiplier': 0.0,
  'delta': None,
  'total_rounds': 6,
  'rounds_per_checkpoint': 2,
}


class _PowerCut(BaseException):
  """Ends a run without anything being cleaned up."""


@contextlib.contextmanager
def _power_cut(round_number: int, is_saved: bool) -> Any:
  """Ends a run when it saves a round, before or after the checkpoint is written."""
  save = checkpoints.Checkpoints.save

  def save_and_end(self: checkpoints.Checkpoints, state: program_state.ProgramState) -> None:
    if state.round_number < round_number or is_saved:
      save(self, state)
    if state.round_number == round_number:
      raise _PowerCut

  with mock.patch.object(checkpoints.Checkpoints, 'save', save_and_end):
    yield


class ClientMemoryTest(runs.RunsTestCase):
  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)

  def _train(self, name: str, **changes: Any) -> None:
    config = dataclasses.replace(fakes.CONFIG, output_dir=self.path(name), **{**_CONFIG, **changes})
    run_lib.train(config, self.shards, _flagfile(config), self.stream)

  def _weights(self, name: str) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in released_model.load(self.path(name)).weights])

  def _state(self, name: str) -> dict[int, tuple[int, bytes]]:
    """Returns the last round and vector of each client that has one."""
    with contextlib.closing(sqlite3.connect(self.path(name, 'secret/client_state.db'))) as file:
      rows = file.execute('SELECT client, round, vector FROM state ORDER BY round').fetchall()
    return {client: (round_number, vector) for client, round_number, vector in rows}

  def test_a_run_that_is_killed_ends_as_if_it_had_not_been(self) -> None:
    self._train('whole')
    for round_number, is_saved in ((2, False), (4, True), (6, False)):
      with _power_cut(round_number, is_saved), self.assertRaises(_PowerCut):
        self._train('broken')
    self._train('broken')
    np.testing.assert_array_equal(self._weights('broken'), self._weights('whole'))
    self.assertEqual(self._state('broken'), self._state('whole'))
    self.assertNotEmpty(self._state('whole'))

  def test_clients_of_a_branch_begin_anew(self) -> None:
    """Also one that is stopped before its first checkpoint."""
    self._train('first', total_rounds=2)
    for _ in range(2):
      with _power_cut(3, False), self.assertRaises(_PowerCut):
        self._train('second', total_rounds=3, branch_from=self.path('first'))
    self._train('second', total_rounds=3, branch_from=self.path('first'))
    self.assertEqual({round_number for round_number, _ in self._state('second').values()}, {3})
    self.assertFalse(np.array_equal(self._weights('second'), self._weights('first')))

  def test_a_run_without_what_its_clients_kept_is_refused(self) -> None:
    self._train('run', total_rounds=2)
    os.remove(self.path('run', 'secret/client_state.db'))
    with self.assertRaisesRegex(ValueError, 'Expected client state at .*, found none: copy the whole run directory'):
      self._train('run')

  def test_another_algorithm_does_not_go_on(self) -> None:
    self._train('run', total_rounds=2)
    with self.assertRaisesRegex(ValueError, r'\(--algorithm=scaffold\), found --algorithm=fed_avg: '):
      self._train('run', algorithm='fed_avg')


def _flagfile(config: config_lib.Config) -> str:
  return ''.join(f'--{name}={value}\n' for name, value in vars(config).items() if value not in (None, ()))


if __name__ == '__main__':
  absltest.main()
