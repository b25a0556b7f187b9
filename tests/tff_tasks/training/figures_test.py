"""Tests of the figures of a finished run."""

import dataclasses

from absl.testing import absltest

from tests.tff_tasks import fakes
from tff_tasks.training import figures
from tff_tasks.training import metrics


class FiguresTest(absltest.TestCase):
  def test_rounds_add_up(self) -> None:
    rows = metrics.Rows(
      [
        metrics.RoundMetrics(0, seconds=0.5),
        metrics.RoundMetrics(1, clients=3, left_out_clients=2, seconds=1.0),
        metrics.RoundMetrics(2, clients=0, left_out_clients=1, seconds=2.0),
      ]
    )
    found = figures.of_rounds(dataclasses.replace(fakes.CONFIG, total_rounds=2), rows)
    self.assertEqual((found['left_out_clients'], found['empty_rounds'], found['seconds']), (3, 1, 3.5))
    self.assertEqual((found['rounds'], found['algorithm']), (2, 'fed_avg'))


if __name__ == '__main__':
  absltest.main()
