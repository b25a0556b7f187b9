"""Tests of what clients keep: it follows the checkpoints, whatever ends the run, and damage is not taken for state."""

import contextlib
import errno
import functools
import os
import sqlite3
import stat
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests import layout
from tff_tasks.population import client_report
from tff_tasks.population import client_state

_KILLED = """
import os, signal, sys
import numpy as np
from tff_tasks.population import client_report, client_state
state = client_state.ClientState(sys.argv[1], 2, 'run', 0, True)
for number in range(1, 4):
  state.update(number, client_report.ClientMemory(np.array([1, 2]), np.full((2, 2), number, np.float32)))
  if number < 3:
    state.save(number, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _rows(*clients: int, value: float) -> client_report.ClientMemory:
  return client_report.ClientMemory(np.array(clients), np.full((len(clients), 3), value, np.float32))


class ClientStateTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._path = os.path.join(self.create_tempdir().full_path, 'client_state.db')

  def _open(self, round_number: int | None, run_id: str = 'run') -> client_state.ClientState:
    state = client_state.ClientState(self._path, 3, run_id, round_number or 0, round_number is None)
    self.addCleanup(state.close)
    return state

  def _read(self, state: client_state.ClientState, *clients: int) -> list[float]:
    block = np.full((len(clients), 3), np.nan, np.float32)
    state.read_into(list(clients), block)
    return block[:, 0].tolist()

  def _save_rounds(self) -> None:
    state = self._open(None)
    for number in range(1, 5):
      state.update(number, _rows(number, 7, value=float(number)))
      state.save(number, max(number - 2, 0))
    state.close()

  def test_who_never_took_part_has_zeros(self) -> None:
    state = self._open(None)
    state.update(1, _rows(4, value=2.0))
    self.assertEqual(self._read(state, 3, 4), [0.0, 2.0])
    self.assertEqual(stat.S_IMODE(os.stat(self._path).st_mode), 0o600)

  @parameterized.parameters((4, [1.0, 2.0, 3.0, 4.0, 4.0]), (3, [1.0, 2.0, 3.0, 0.0, 3.0]))
  def test_goes_back_to_a_checkpoint(self, round_number: int, expected: list[float]) -> None:
    self._save_rounds()
    self.assertEqual(self._read(self._open(round_number), 1, 2, 3, 4, 7), expected)

  def test_what_went_back_is_not_taken_for_what_it_was(self) -> None:
    self._save_rounds()
    self._open(3).close()
    with self.assertRaisesRegex(ValueError, 'after round 4 .* found that of rounds 2 to 3: copy'):
      self._open(4)

  def test_a_branch_that_stops_before_its_first_save_goes_on(self) -> None:
    client_state.ClientState(self._path, 3, 'run', 7, is_new=True).close()
    self.assertEqual(self._read(self._open(7), 1), [0.0])

  def test_rounds_between_two_saves_leave_one_row(self) -> None:
    state = self._open(None)
    for number in range(1, 6):
      state.update(number, _rows(1, 2, value=float(number)))
    state.save(5, 0)
    state.close()
    with sqlite3.connect(self._path) as file:
      self.assertEqual(file.execute('SELECT client, round FROM state').fetchall(), [(1, 5), (2, 5)])

  def test_vectors_of_another_size_are_refused(self) -> None:
    self._save_rounds()
    with self.assertRaisesRegex(ValueError, 'Expected 4 numbers of a client in .*, found 3: use the --algorithm as it'):
      client_state.ClientState(self._path, 4, 'run', 4, is_new=False)

  def test_a_file_in_use_is_no_damage(self) -> None:
    self._save_rounds()
    with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as other:
      other.execute('BEGIN IMMEDIATE')
      impatient = mock.patch.object(sqlite3, 'connect', functools.partial(sqlite3.connect, timeout=0))
      with impatient, self.assertRaises(OSError) as caught:
        self._open(4)
    self.assertEqual((caught.exception.errno, caught.exception.filename), (errno.EBUSY, self._path))

  def test_a_new_run_begins_anew(self) -> None:
    self._save_rounds()
    self.assertEqual(self._read(self._open(None), 1, 7), [0.0, 0.0])

  def test_the_journal_of_an_earlier_file_is_not_applied(self) -> None:
    with open(f'{self._path}-journal', 'wb') as file:
      file.write(bytes.fromhex('d9d505f920a163d7') + bytes(504))
    self._open(None)
    self.assertFalse(os.path.exists(f'{self._path}-journal'))

  def test_a_full_disk_is_said_and_loses_nothing(self) -> None:
    self._save_rounds()
    state = self._open(4)
    state._rows.execute('PRAGMA max_page_count = 2')
    with self.assertRaises(OSError) as caught:
      for client in range(1000):
        state.update(5, _rows(client, value=5.0))
    self.assertEqual((caught.exception.errno, caught.exception.filename), (errno.ENOSPC, self._path))
    state.close()
    self.assertEqual(self._read(self._open(4), 4, 7), [4.0, 4.0])

  def test_what_no_checkpoint_needs_is_removed(self) -> None:
    self._save_rounds()
    with sqlite3.connect(self._path) as file:
      (rows,) = file.execute('SELECT COUNT(*) FROM state WHERE client = 7').fetchone()
    self.assertLess(rows, 4)

  def test_a_killed_process_leaves_what_was_saved(self) -> None:
    subprocess.run([sys.executable, '-c', _KILLED, self._path], cwd=layout.ROOT, check=False)
    state = client_state.ClientState(self._path, 2, 'run', 2, is_new=False)
    self.addCleanup(state.close)
    block = np.zeros((2, 2), np.float32)
    state.read_into([1, 2], block)
    np.testing.assert_array_equal(block, 2.0)

  def test_refuses_what_is_not_of_the_checkpoint(self) -> None:
    with self.assertRaisesRegex(ValueError, 'found none: copy the whole run directory'):
      self._open(2)
    self._save_rounds()
    with self.assertRaisesRegex(ValueError, 'after round 5 .* found that of rounds 2 to 4: copy'):
      self._open(5)
    with self.assertRaisesRegex(ValueError, 'after round 1 .* found that of rounds 2 to 4: copy'):
      self._open(1)  # What clients had then is removed.
    with self.assertRaisesRegex(ValueError, 'found that of another run'):
      self._open(4, 'other')

  def test_refuses_damage_and_another_format(self) -> None:
    self._save_rounds()
    with sqlite3.connect(self._path) as file:
      file.execute('UPDATE state SET vector = zeroblob(12) WHERE client = 1')
    with self.assertRaisesRegex(ValueError, 'Expected whole client state .* a row whose checksum is another'):
      self._read(state := self._open(4), 1)
    state.close()
    with sqlite3.connect(self._path) as file:
      file.execute('PRAGMA user_version = 1')
    with self.assertRaisesRegex(ValueError, 'of format 2 .* found 1: finish that run'):
      self._open(4)
    for content in (b'no database' * 100, b''):
      with open(self._path, 'wb') as damaged:
        damaged.write(content)
      with self.assertRaisesRegex(ValueError, 'Expected whole client state'):
        self._open(4)


if __name__ == '__main__':
  absltest.main()
