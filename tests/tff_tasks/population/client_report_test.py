"""Tests of finding what clients report in the metrics of a round."""

import collections

from absl.testing import absltest
import numpy as np

from tff_tasks.population import client_report


class FindTest(absltest.TestCase):
  def test_finds_rows_by_their_type_and_orders_them(self) -> None:
    report = client_report.ClientReport(
      np.array([3, 1]), np.array([30, 10]), np.array([True, False]), np.array([0.3, 0.0], np.float32)
    )
    memory = client_report.ClientMemory(np.array([2, 0]), np.array([[2.0], [0.0]]))
    metrics = collections.OrderedDict(work=collections.OrderedDict(sums=(1.0, 2.0), memory=memory), aggregator=report)
    found = client_report.find(metrics, client_report.ClientReport)
    assert found is not None
    self.assertEqual(
      list(zip(found.index, found.examples, found.accepted, strict=True)), [(1, 10, False), (3, 30, True)]
    )
    kept = client_report.find(metrics, client_report.ClientMemory)
    assert kept is not None
    np.testing.assert_array_equal(kept.values, [[0.0], [2.0]])

  def test_there_may_be_none(self) -> None:
    self.assertIsNone(client_report.find({'work': (1.0, np.ones(3))}, client_report.ClientMemory))


if __name__ == '__main__':
  absltest.main()
