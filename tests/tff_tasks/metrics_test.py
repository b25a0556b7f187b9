"""Tests that the rows of a run survive kills and resumes: each round once, in metrics.csv and in TensorBoard."""

from collections.abc import Iterable
import dataclasses
import glob
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests import layout
from tff_tasks import metrics

_HEADER = (
    'round,clients,loss,accuracy,eval_loss,eval_accuracy,eval_accuracy_per_user,epsilon,update_norm_mean,'
    'update_norm_max,clipped_share,left_out_clients,bytes_up_per_client,bytes_down_per_client,seconds\n'
)
_INITIAL = metrics.RoundMetrics(0, eval_loss=4.5, eval_accuracy=0.01, eval_accuracy_per_user=0.02, seconds=0.5)


def _row(number: int) -> metrics.RoundMetrics:
  return metrics.RoundMetrics(
      number, clients=10, loss=1 / 3, accuracy=0.1, epsilon=math.sqrt(number), update_norm_mean=0.5,
      update_norm_max=1e-7, clipped_share=0.0, left_out_clients=0, bytes_up_per_client=100,
      bytes_down_per_client=400, seconds=2.0,
  )  # fmt: skip


class MetricsLogTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.enterContext(tempfile.TemporaryDirectory())
    self._path = pathlib.Path(self._run_dir, metrics.FILE_NAME)

  def _log(self, last_round: int, *rows: metrics.RoundMetrics) -> list[metrics.RoundMetrics]:
    """Opens the log, adds rows and closes it; returns the rows that it then has."""
    log = metrics.MetricsLog(self._run_dir, last_round)
    for row in rows:
      log.add(row)
    log.close()
    return log.rows

  def _events(self) -> list[tuple[str, int, float]]:
    """Returns the tag, step and value of every event."""
    paths = glob.glob(os.path.join(self._run_dir, 'tensorboard', '*'))
    values = (
        (value.tag, event.step, value.simple_value)
        for path in paths
        for event in tf.compat.v1.train.summary_iterator(path)
        for value in event.summary.value
    )
    return sorted(values)

  def _expected_events(self, rows: Iterable[metrics.RoundMetrics]) -> list[tuple[str, int, float]]:
    cells = ((name, row.round, value) for row in rows for name, value in dataclasses.asdict(row).items())
    return sorted((name, step, float(value)) for name, step, value in cells if name != 'round' and value is not None)

  def _assert_events(self, rows: Iterable[metrics.RoundMetrics]) -> None:
    found, expected = self._events(), self._expected_events(rows)
    self.assertEqual([event[:2] for event in found], [event[:2] for event in expected])
    for (*_, value), (*_, other) in zip(found, expected, strict=True):
      self.assertAlmostEqual(value, other, places=5)

  def test_the_file_as_others_read_it(self) -> None:
    self._log(-1, _INITIAL, _row(1))
    self.assertEqual(
        self._path.read_text(),
        _HEADER
        + '0,,,,4.5,0.01,0.02,,,,,,,,0.5\n'
        + '1,10,0.3333333333333333,0.1,,,,1.0,0.5,1e-07,0.0,0,100,400,2.0\n',
    )

  def test_a_row_is_in_the_file_at_once(self) -> None:
    log = metrics.MetricsLog(self._run_dir, -1)
    self.addCleanup(log.close)
    for number in range(1, 4):
      log.add(_row(number))
      self.assertLen(self._path.read_text().splitlines(), 1 + number)

  def test_a_killed_process_loses_no_row(self) -> None:
    code = (
        'import os, signal, sys\nfrom tff_tasks import metrics\n'
        'log = metrics.MetricsLog(sys.argv[1], -1)\n'
        'for number in range(30):\n  log.add(metrics.RoundMetrics(number, loss=0.5))\n'
        'os.kill(os.getpid(), signal.SIGKILL)'
    )
    killed = subprocess.run([sys.executable, '-c', code, self._run_dir], cwd=layout.ROOT, timeout=60, check=False)
    self.assertEqual(killed.returncode, -signal.SIGKILL)
    rows = [metrics.RoundMetrics(number, loss=0.5) for number in range(30)]
    self._assert_events(rows)
    self.assertEqual(self._log(29), rows)

  def test_rows_survive_reopening(self) -> None:
    rows = [_INITIAL, *map(_row, range(1, 5))]
    self._log(-1, *rows[:3])
    self.assertEqual(self._log(2), rows[:3])
    self.assertEqual(self._log(2, *rows[3:]), rows)
    self.assertEqual(self._log(4), rows)
    self._assert_events(rows)

  def test_rows_of_rounds_that_run_again_are_dropped(self) -> None:
    self._log(-1, _INITIAL, *map(_row, range(1, 8)))
    self.assertEqual(self._log(3, _row(4)), [_INITIAL, *map(_row, range(1, 5))])
    self.assertLen(self._path.read_text().splitlines(), 6)
    self._assert_events([_INITIAL, *map(_row, range(1, 5))])

  def test_a_new_run_drops_all(self) -> None:
    self._log(-1, _INITIAL, _row(1))
    self.assertEqual(self._log(-1, _INITIAL), [_INITIAL])
    self._assert_events([_INITIAL])

  def test_a_killed_process_may_leave_half_a_row(self) -> None:
    self._log(-1, _INITIAL, _row(1), _row(2))
    whole = self._path.read_text()
    start = len(whole) - len(whole.splitlines(keepends=True)[-1])
    for length in range(start, len(whole)):
      self._path.write_text(whole[:length])
      self.assertEqual(self._log(1), [_INITIAL, _row(1)], whole[start:length])

  def test_rows_added_after_half_a_row_are_whole(self) -> None:
    self._log(-1, _INITIAL, _row(1))
    with open(self._path, 'a') as file:
      file.write('2,10,0.3')
    self._log(1, _row(2))
    self.assertEqual(self._log(2), [_INITIAL, _row(1), _row(2)])

  def test_what_is_no_number_is_not_measured(self) -> None:
    """A diverged model has a loss of NaN, a run without held-out users no accuracy: both resume."""
    self._log(-1, metrics.RoundMetrics(1, loss=math.nan, eval_accuracy=math.inf))
    self.assertEqual(self._log(1), [metrics.RoundMetrics(1, loss=None, eval_accuracy=math.inf)])

  @parameterized.named_parameters(
      ('empty', ''),
      ('other_header', 'round,loss\n1,2\n'),
      ('damaged_header', _HEADER.replace('loss', 'lozs', 1)),
      ('cut_header', _HEADER[:40]),
      ('words', _HEADER + '1,ten' + ',' * 13 + '\n'),
      ('half_number', _HEADER + '1.5' + ',' * 14 + '\n'),
      ('no_round', _HEADER + ',' * 14 + '\n'),
      ('half_a_row_within', _HEADER + '1,10\n2' + ',' * 14 + '\n'),
  )
  def test_a_damaged_file_is_refused(self, content: str) -> None:
    self._path.write_text(content)
    with self.assertRaisesRegex(ValueError, f'^Expected rounds in {self._path}, found .*: move the file away'):
      metrics.MetricsLog(self._run_dir, 5)
    self.assertEqual(self._path.read_text(), content)

  def test_a_file_that_is_no_text_is_refused(self) -> None:
    self._path.write_bytes(_HEADER.encode() + b'\xff\xfe')
    with self.assertRaisesRegex(ValueError, '^Expected rounds in '):
      metrics.MetricsLog(self._run_dir, 5)

  def test_a_folder_with_signs_that_mean_something_to_glob(self) -> None:
    self._run_dir = os.path.join(self._run_dir, 'run[1]')
    os.makedirs(self._run_dir)
    self._path = pathlib.Path(self._run_dir, metrics.FILE_NAME)
    self._log(-1, _INITIAL)
    self._log(0, _row(1))
    steps = [
        event.step
        for name in os.listdir(os.path.join(self._run_dir, 'tensorboard'))
        for event in tf.compat.v1.train.summary_iterator(os.path.join(self._run_dir, 'tensorboard', name))
        for value in event.summary.value
        if value.tag == 'seconds'
    ]
    self.assertEqual(sorted(steps), [0, 1])


class OfRoundTest(absltest.TestCase):
  def _measured(self, clients: int, rejected: int = 0) -> dict:
    sums = {'clients': clients, 'norm_sum': 12.0, 'clipped': 2, 'rejected': rejected}
    largest = 5.0 if clients else np.finfo(np.float32).min
    work = {'loss': 20.0 * clients, 'correct': 4.0 * clients, 'count': 10.0 * clients}
    return {'client_work': work, 'aggregator': {'sums': sums, 'norm_max': largest}}

  def test_divides_the_sums(self) -> None:
    row = metrics.of_round(3, self._measured(4), 0)
    self.assertEqual((row.round, row.clients, row.left_out_clients, row.loss, row.accuracy), (3, 4, 0, 2.0, 0.4))
    self.assertEqual((row.update_norm_mean, row.update_norm_max, row.clipped_share), (3.0, 5.0, 0.5))
    self.assertIsNone(row.epsilon)

  def test_who_was_left_out_took_no_part(self) -> None:
    # Two updates that were not finite, which the runtime left out, and one client that it could not read.
    row = metrics.of_round(3, self._measured(6, rejected=2), 3)
    self.assertEqual((row.clients, row.left_out_clients), (4, 3))
    self.assertEqual((row.update_norm_mean, row.clipped_share), (3.0, 0.5))

  def test_nobody_came(self) -> None:
    row = metrics.of_round(3, self._measured(0), 0)
    self.assertEqual((row.clients, row.loss, row.update_norm_max, row.clipped_share), (0, None, None, None))


if __name__ == '__main__':
  absltest.main()
