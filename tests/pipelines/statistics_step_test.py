import json
import os
import pathlib

from absl.testing import absltest
from apache_beam.testing import test_pipeline
import pyarrow as pa
import pytest

from contracts import client_shards
from contracts import guarantees
from pipelines import statistics_step
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base
from tests.pipelines import fakes
from tests.pipelines import small_jobs


class _SumOfTwoRows(base.Learner):
  """Adds the numbers of the first two rows of each client."""

  @property
  def cost(self) -> guarantees.Cost:
    return guarantees.Cost(1.0, 1e-6)

  def contribute(self, rows: rows_lib.ClientRows) -> int:
    numbers = rows.table['number'].to_pylist()
    return sum(sum(numbers[start:stop][:2]) for start, stop in zip(rows.starts, rows.starts[1:], strict=False))

  def add(self, first: int, second: int) -> int:
    return first + second

  def to_table(self, total: int) -> pa.Table:
    return pa.table({'sum': [total]})

  def from_table(self, table: pa.Table) -> int:
    return table['sum'][0].as_py()

  def release(self, total: int | None) -> base.Release:
    return base.Release(total or 0, {'what': 'a sum', 'source': 'dp', 'epsilon': 1.0})


@pytest.mark.slow
class LearnTest(small_jobs.SmallJobTestCase):
  def setUp(self) -> None:
    super().setUp()
    self._paths = [os.path.join(self.folder, name) for name in ('sum', 'clients')]

  def _result(self) -> tuple[int | None, dict[str, int]]:
    """Returns the sum, and the number of clients of each split."""
    total_path, clients_path = self._paths
    with pa.OSFile(total_path) as file:
      return base.read_total(_SumOfTwoRows(), file), json.loads(pathlib.Path(clients_path).read_text())

  def test_learns_from_all_training_users_and_from_them_alone(self) -> None:
    users = [f'user {number}' for number in range(12)]
    rows = [(user, time, 10**place) for place, user in enumerate(users) for time in range(3)]
    log = self.log([dict(zip(('user', 'time', 'number'), row, strict=True)) for row in rows])
    declared, builder = self.declare(fakes.Numbers())
    with test_pipeline.TestPipeline(runner='FnApiRunner') as pipeline:
      _, buckets = self.slices(pipeline, [log], declared)
      buckets.elements | statistics_step.Learn(builder, _SumOfTwoRows(), *self._paths)
    total, clients = self._result()
    digits = str(total).zfill(len(users))[::-1]
    self.assertEqual(set(digits), {'0', '2'})
    self.assertBetween(digits.count('2'), 4, 11)
    trained = digits.count('2')
    self.assertEqual(clients, {'train': trained, 'tail': 0, 'validation': 0, 'test': len(users) - trained})

  def test_training_users_without_usable_rows_are_counted(self) -> None:
    users = [f'user {number}' for number in range(12)]
    declared, builder = self.declare(fakes.Numbers())
    found = []
    for value in (1, 'none'):
      log = self.log([{'user': user, 'time': 0, 'number': value if user < 'user 5' else 1} for user in users])
      with test_pipeline.TestPipeline(runner='FnApiRunner') as pipeline:
        _, buckets = self.slices(pipeline, [log], declared)
        buckets.elements | statistics_step.Learn(builder, _SumOfTwoRows(), *self._paths)
      found.append(self._result())
    self.assertLess(found[1][0] or 0, found[0][0] or 0)
    self.assertEqual(found[1][1]['train'], found[0][1]['train'])

  def test_learning_from_nobody(self) -> None:
    declared, builder = self.declare(fakes.Numbers())
    with test_pipeline.TestPipeline(runner='FnApiRunner') as pipeline:
      _, buckets = self.slices(pipeline, [self.log([])], declared)
      buckets.elements | statistics_step.Learn(builder, _SumOfTwoRows(), *self._paths)
    self.assertEqual(self._result(), (None, dict.fromkeys(client_shards.SPLITS, 0)))


if __name__ == '__main__':
  absltest.main()
