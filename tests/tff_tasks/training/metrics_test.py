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
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests import layout
from tff_tasks.population import capabilities
from tff_tasks.population import client_data
from tff_tasks.population import client_report
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.training import metrics

_HEADER = (
  'round,clients,loss,accuracy,eval_loss,eval_accuracy,eval_accuracy_per_user,epsilon,update_norm_mean,'
  'update_norm_max,clipped_share,skipped_clients,bytes_up_per_client,bytes_down_per_client,seconds\n'
)
_INITIAL = metrics.RoundMetrics(0, eval_loss=4.5, eval_accuracy=0.01, eval_accuracy_per_user=0.02, seconds=0.5)

_RECONSTRUCTED: dict[str, Any] = dict(zip(metrics.RECONSTRUCTION, (0.1, 0.2, 0.05, 0.15), strict=True))


def _row(number: int) -> metrics.RoundMetrics:
  return metrics.RoundMetrics(
    number,
    clients=10,
    loss=1 / 3,
    accuracy=0.1,
    epsilon=math.sqrt(number),
    update_norm_mean=0.5,
    update_norm_max=1e-7,
    clipped_share=0.0,
    skipped_clients=0,
    bytes_up_per_client=100,
    bytes_down_per_client=400,
    seconds=2.0,
  )


class MetricsLogTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._run_dir = self.enterContext(tempfile.TemporaryDirectory())
    self._path = pathlib.Path(self._run_dir, 'operator/metrics.csv')

  def _log(self, begin: Iterable[metrics.RoundMetrics], *rows: metrics.RoundMetrics) -> list[metrics.RoundMetrics]:
    """Opens the log with rows, adds others and closes it; returns the rows that it then has."""
    log = metrics.MetricsLog(self._run_dir, metrics.Rows(begin))
    log.add(rows)
    log.close()
    return list(log.rows)

  def _events(self) -> list[tuple[str, int, float]]:
    """Returns the tag, step and value of every event."""
    paths = glob.glob(os.path.join(self._run_dir, 'operator/tensorboard', '*'))
    values = (
      (value.tag, event.step, value.simple_value)
      for path in paths
      for event in tf.compat.v1.train.summary_iterator(path)
      for value in event.summary.value
    )
    return sorted(values)

  def _expected_events(self, rows: Iterable[metrics.RoundMetrics]) -> list[tuple[str, int, float]]:
    figures = ((row, {**dataclasses.asdict(row), 'clients_by_class': None}) for row in rows)
    cells = ((name, row.round, value) for row, values in figures for name, value in values.items())
    return sorted((name, step, float(value)) for name, step, value in cells if name != 'round' and value is not None)

  def _assert_events(self, rows: Iterable[metrics.RoundMetrics]) -> None:
    found, expected = self._events(), self._expected_events(rows)
    self.assertEqual([event[:2] for event in found], [event[:2] for event in expected])
    for (*_, value), (*_, other) in zip(found, expected, strict=True):
      self.assertAlmostEqual(value, other, places=5)

  def test_the_file_as_others_read_it(self) -> None:
    self._log([_INITIAL], _row(1))
    self.assertEqual(
      self._path.read_text(),
      _HEADER + '0,,,,4.5,0.01,0.02,,,,,,,,0.5\n' + '1,10,0.3333333333333333,0.1,,,,1.0,0.5,1e-07,0.0,0,100,400,2.0\n',
    )
    self.assertEqual(self._path.read_text(), metrics.Rows([_INITIAL, _row(1)]).to_csv())

  def test_a_row_is_in_the_file_at_once(self) -> None:
    log = metrics.MetricsLog(self._run_dir, metrics.Rows())
    self.addCleanup(log.close)
    for number in range(1, 4):
      log.add([_row(number)])
      self.assertLen(self._path.read_text().splitlines(), 1 + number)

  def test_a_killed_process_loses_no_row(self) -> None:
    code = (
      'import os, signal, sys\nfrom tff_tasks.training import metrics\n'
      'log = metrics.MetricsLog(sys.argv[1], metrics.Rows())\n'
      'for number in range(30):\n  log.add([metrics.RoundMetrics(number, loss=0.5)])\n'
      'os.kill(os.getpid(), signal.SIGKILL)'
    )
    killed = subprocess.run([sys.executable, '-c', code, self._run_dir], cwd=layout.ROOT, timeout=60, check=False)
    self.assertEqual(killed.returncode, -signal.SIGKILL)
    rows = [metrics.RoundMetrics(number, loss=0.5) for number in range(30)]
    self._assert_events(rows)
    self.assertEqual(self._path.read_text(), metrics.Rows(rows).to_csv())

  def test_a_log_begins_with_the_rows_of_the_checkpoint_whatever_the_file_holds(self) -> None:
    rows = [_INITIAL, *map(_row, range(1, 5))]
    self._log(rows[:3])
    whole = self._path.read_text()
    for content in ('', 'damaged', whole + whole.splitlines()[-1], whole[:-5], whole + '3,10,0.3'):
      self._path.write_text(content)
      self.assertEqual(self._log(rows[:3], *rows[3:]), rows)
      self.assertEqual(self._path.read_text(), metrics.Rows(rows).to_csv())
      self._assert_events(rows)

  def test_a_folder_with_signs_that_mean_something_to_glob(self) -> None:
    self._run_dir = os.path.join(self._run_dir, 'run[1]')
    os.makedirs(self._run_dir)
    self._path = pathlib.Path(self._run_dir, 'operator/metrics.csv')
    self._log([_INITIAL])
    self._log([_INITIAL], _row(1))
    steps = [
      event.step
      for name in os.listdir(os.path.join(self._run_dir, 'operator/tensorboard'))
      for event in tf.compat.v1.train.summary_iterator(os.path.join(self._run_dir, 'operator/tensorboard', name))
      for value in event.summary.value
      if value.tag == 'seconds'
    ]
    self.assertEqual(sorted(steps), [0, 1])

  def test_capability_classes_have_columns(self) -> None:
    rows = [_INITIAL, dataclasses.replace(_row(1), clients_by_class={'fast': 3, 'slow': 7})]
    log = metrics.MetricsLog(self._run_dir, metrics.Rows(rows[:1], ['fast', 'slow']))
    log.add(rows[1:])
    log.close()
    self.assertEqual(list(log.rows), rows)
    header, *lines = self._path.read_text().splitlines()
    self.assertEqual(header, f'{_HEADER.strip()},clients_fast,clients_slow')
    self.assertEqual([line.split(',')[-2:] for line in lines], [['', ''], ['3', '7']])
    counts = [event for event in self._events() if event[0].startswith('clients_')]
    self.assertEqual(counts, [('clients_fast', 1, 3.0), ('clients_slow', 1, 7.0)])

  def test_runs_with_local_layers_have_columns_of_their_own(self) -> None:
    row = dataclasses.replace(_row(1), **_RECONSTRUCTED, clients_by_class={'fast': 3})
    log = metrics.MetricsLog(self._run_dir, metrics.Rows([_INITIAL], ['fast'], is_reconstructed=True))
    log.add([row])
    log.close()
    self.assertEqual(list(log.rows), [_INITIAL, row])
    header, *lines = self._path.read_text().splitlines()
    self.assertEqual(header, f'{_HEADER.strip()},{",".join(metrics.RECONSTRUCTION)},clients_fast')
    self.assertEqual([line.split(',')[-5:] for line in lines], [[''] * 5, ['0.1', '0.2', '0.05', '0.15', '3']])
    found = [event for event in self._events() if event[0] in metrics.RECONSTRUCTION]
    self.assertEqual([(name, step) for name, step, _ in found], [(name, 1) for name in sorted(metrics.RECONSTRUCTION)])


class RowsTest(absltest.TestCase):
  def test_columns_of_local_layers_come_and_go(self) -> None:
    row = metrics.RoundMetrics(1, clients=3, clients_by_class={'fast': 3}, **_RECONSTRUCTED)
    rows = metrics.Rows([row], ['fast'], is_reconstructed=True)
    self.assertEqual(list(metrics.Rows.from_array(rows.to_array(), ['fast'], True)), [row])
    self.assertEqual(list(rows.with_added([row])), [row, row])
    self.assertIs(rows.with_columns(['fast'], True), rows)
    # A branch may have none, or be the first that has some.
    without = rows.with_columns([], False)
    self.assertEqual(list(without), [metrics.RoundMetrics(1, clients=3)])
    self.assertEqual(without.with_columns([], True).to_csv().count(','), 2 * (_HEADER.count(',') + 4))

  def test_classes_come_back_and_change(self) -> None:
    row = metrics.RoundMetrics(1, clients=3, clients_by_class={'fast': 3, 'slow': 0})
    rows = metrics.Rows([_INITIAL], ['fast', 'slow']).with_added([row])
    self.assertEqual(list(metrics.Rows.from_array(rows.to_array(), rows.classes)), [_INITIAL, row])
    self.assertLen(rows, 2)
    self.assertIs(rows.with_columns(['fast', 'slow'], False), rows)
    # A branch has classes of its own.
    other = rows.with_columns(['slow', 'slower'], False)
    self.assertEqual(list(other), [_INITIAL, dataclasses.replace(row, clients_by_class={'slow': 0})])
    self.assertEqual(list(rows.with_columns([], False)), [_INITIAL, metrics.RoundMetrics(1, clients=3)])

  def test_rows_come_back_from_an_array(self) -> None:
    rows = [_INITIAL, _row(1), metrics.RoundMetrics(10**7, clients=0, eval_accuracy=math.inf)]
    self.assertEqual(list(metrics.Rows.from_array(metrics.Rows(rows).to_array())), rows)
    self.assertLen(metrics.Rows(rows), 3)
    self.assertEmpty(list(metrics.Rows.from_array(metrics.Rows().to_array())))

  def test_what_is_no_number_is_not_measured(self) -> None:
    rows = metrics.Rows([metrics.RoundMetrics(1, loss=math.nan)])
    self.assertEqual(list(rows), [metrics.RoundMetrics(1)])

  def test_further_rows_go_to_a_copy(self) -> None:
    rows = metrics.Rows([_INITIAL])
    self.assertEqual(list(rows.with_added([_row(1)])), [_INITIAL, _row(1)])
    self.assertEqual(list(rows), [_INITIAL])

  def test_a_round_takes_few_bytes(self) -> None:
    rows = metrics.Rows(map(_row, range(1_000)))
    self.assertLess(rows.to_array().nbytes, 1_000 * 200)


class LastRoundTest(parameterized.TestCase):
  @parameterized.parameters(
    (None, -1),
    ('', -1),
    ('round,loss\n', -1),
    ('round,loss\n0,\n1,2.5\n2', 2),
    ('round\n7,x\nbroken\n', 7),
    ('round\n99999999999999999999\n', -1),
    (b'\xff\xfe\n3,1\n', 3),
  )
  def test_is_found_as_far_as_the_file_can_be_read(self, content: str | bytes | None, expected: int) -> None:
    run_dir = self.create_tempdir().full_path
    os.mkdir(os.path.join(run_dir, 'operator'))
    if content is not None:
      data = content.encode() if isinstance(content, str) else content
      pathlib.Path(run_dir, 'operator/metrics.csv').write_bytes(data)
    self.assertEqual(metrics.last_round(run_dir, 7), expected)

  @parameterized.parameters((0, 4), (3, 4), (10, 10))
  def test_none_is_beyond_both_the_plan_and_the_lines(self, planned: int, expected: int) -> None:
    run_dir = self.create_tempdir().full_path
    os.mkdir(os.path.join(run_dir, 'operator'))
    pathlib.Path(run_dir, 'operator/metrics.csv').write_text('round\n0\n1\n92\n')
    self.assertEqual(metrics.last_round(run_dir, planned), expected + 1 if planned < 10 else expected)


class OfRoundTest(absltest.TestCase):
  def _result(self, norms: list[float], rejected: int = 0, unreadable: int = 0) -> runtime_lib.RoundResult:
    index, accepted = np.arange(len(norms) + rejected), np.array([True] * len(norms) + [False] * rejected, bool)
    report = client_report.ClientReport(index, index + 1, accepted, np.array([*norms, *[0.0] * rejected], np.float32))
    clients = len(norms)
    work = {'loss': 20.0 * clients, 'correct': 4.0 * clients, 'count': 10.0 * clients}
    skipped = [client_data.ClientError(client, 'on purpose') for client in range(rejected + unreadable)]
    return runtime_lib.RoundResult(None, {'client_work': {'sums': work}}, skipped, report)

  def test_divides_the_sums(self) -> None:
    row = metrics.of_round(3, self._result([1.0, 5.0, 2.0, 4.0]), 3.0)
    self.assertEqual((row.round, row.clients, row.skipped_clients, row.loss, row.accuracy), (3, 4, 0, 2.0, 0.4))
    self.assertEqual((row.update_norm_mean, row.update_norm_max, row.clipped_share), (3.0, 5.0, 0.5))
    self.assertIsNone(row.epsilon)

  def test_without_a_clip_nobody_is_clipped(self) -> None:
    self.assertEqual(metrics.of_round(3, self._result([1.0, 5.0]), None).clipped_share, 0.0)

  def test_who_was_skipped_took_no_part(self) -> None:
    # Two updates that were not finite, and one client that could not be read.
    row = metrics.of_round(3, self._result([1.0, 5.0, 2.0, 4.0], rejected=2, unreadable=1), 3.0)
    self.assertEqual((row.clients, row.skipped_clients), (4, 3))
    self.assertEqual((row.update_norm_mean, row.clipped_share), (3.0, 0.5))

  def test_who_took_part_is_counted_by_class(self) -> None:
    classes = tuple(capabilities.Capability(name, 1, 4, 1.0) for name in ('fast', 'slow'))
    found = capabilities.Capabilities(classes, np.array([0, 0, 1, 0, 1]))
    # The last two were not finite.
    row = metrics.of_round(3, self._result([1.0, 5.0, 2.0], rejected=2), 3.0, found)
    self.assertEqual(row.clients_by_class, {'fast': 2, 'slow': 1})
    self.assertEqual(metrics.of_round(3, self._result([]), 3.0, found).clients_by_class, {'fast': 0, 'slow': 0})

  def test_nobody_came(self) -> None:
    row = metrics.of_round(3, self._result([]), 3.0)
    self.assertEqual((row.clients, row.loss, row.update_norm_max, row.clipped_share), (0, None, None, None))


if __name__ == '__main__':
  absltest.main()
