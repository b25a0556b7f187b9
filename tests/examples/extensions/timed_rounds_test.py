"""Tests a runtime that is outside of the packages, as a user would write it."""

import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from tests.tff_tasks import fakes
from tests.tff_tasks import runs

_NAME = 'examples.extensions.timed_rounds:TimedRounds'


class TimedRoundsTest(parameterized.TestCase):
  @parameterized.parameters('local', 'tff')
  def test_trains_as_the_runtime_within_and_counts_each_round_once(self, name: str) -> None:
    folder = self.create_tempdir().full_path
    shards = fakes.write_shards(os.path.join(folder, 'shards'))
    times = os.path.join(folder, 'seconds.csv')
    config: dict[str, Any] = {'seed': 3, 'total_rounds': 2, 'xla': 'no'}
    timed: dict[str, Any] = {'runtime': _NAME, 'runtime_options': [f'path={times}', f'inner={name}']}
    weights = []
    for run_dir, changes in {'plain': {'runtime': name}, 'timed': timed}.items():
      path = os.path.join(folder, run_dir)
      model, _ = runs.train_and_load(shards, path, '--seed=3\n', **config, **changes)
      weights.append(model.weights)
    for one, other in zip(*weights, strict=True):
      np.testing.assert_array_equal(one, other)
    with open(times, encoding='utf-8') as file:
      rows = [line.split(',') for line in file]
    self.assertEqual([int(row[0]) for row in rows], [1, 2])
    self.assertTrue(all(float(row[2]) > 0 for row in rows))


if __name__ == '__main__':
  absltest.main()
