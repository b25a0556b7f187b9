"""Tests of what a round gives: its reports in the order of the clients, who was skipped, and what clients keep."""

import collections
from collections.abc import Sequence
from typing import Any

from absl.testing import absltest
import numpy as np

from tff_tasks.population import client_data
from tff_tasks.population import client_report
from tff_tasks.runtime import runtime


def _report(index: Sequence[int], accepted: Sequence[bool]) -> client_report.ClientReport:
  clients = np.array(index, np.int32)
  return client_report.ClientReport(clients, 10 * clients, np.array(accepted, bool), clients.astype(np.float32) / 2)


def _memory(index: Sequence[int]) -> client_report.ClientMemory:
  clients = np.array(index, np.int32)
  return client_report.ClientMemory(clients, clients.astype(np.float32)[:, np.newaxis] + [[0.0, 0.5]])


def _metrics(report: Any, memory: Any = None) -> Any:
  work = collections.OrderedDict(sums={'loss': np.float32(2)}, **({} if memory is None else {'memory': memory}))
  return collections.OrderedDict(client_work=work, aggregator=report)


class FinishRoundTest(absltest.TestCase):
  def test_a_report_is_ordered_by_client(self) -> None:
    metrics = _metrics(_report([5, 2, 9], [True] * 3))
    result = runtime.finish_round('state', metrics, [])
    self.assertEqual((result.state, result.skipped, result.memory), ('state', [], None))
    self.assertIs(result.metrics, metrics)
    assert result.report is not None
    rows = list(zip(*map(np.ndarray.tolist, result.report), strict=True))
    self.assertEqual(rows, [(2, 20, True, 1.0), (5, 50, True, 2.5), (9, 90, True, 4.5)])

  def test_who_is_unreadable_or_not_finite_is_skipped(self) -> None:
    damaged = client_data.ClientError(7, 'Expected data.')
    result = runtime.finish_round(None, _metrics(_report([5, 2, 9], [False, True, False])), [damaged])
    self.assertEqual(
      result.skipped,
      [damaged, client_data.ClientError(5, runtime.NOT_FINITE), client_data.ClientError(9, runtime.NOT_FINITE)],
    )

  def test_only_accepted_clients_keep_something(self) -> None:
    # What clients keep is gathered in another order than their reports.
    metrics = _metrics(_report([5, 2, 9], [False, True, True]), _memory([9, 5, 2]))
    memory = runtime.finish_round(None, metrics, []).memory
    assert memory is not None
    self.assertEqual(memory.index.tolist(), [2, 9])
    self.assertEqual(memory.values.tolist(), [[2.0, 2.5], [9.0, 9.5]])

  def test_nobody_came(self) -> None:
    result = runtime.finish_round(None, _metrics(_report([], []), _memory([])), [])
    assert result.report is not None
    assert result.memory is not None
    self.assertEmpty(result.skipped)
    self.assertEqual([len(column) for column in (*result.report, *result.memory)], [0] * 6)

  def test_a_round_without_a_report_is_refused(self) -> None:
    for metrics in (_metrics(()), _metrics((np.float32(1), np.float32(2)), _memory([1]))):
      with self.assertRaisesRegex(ValueError, '^Expected an aggregator that gathers a ClientReport'):
        runtime.finish_round(None, metrics, [])


if __name__ == '__main__':
  absltest.main()
