import os
import pathlib

from absl.testing import absltest
import numpy as np
import pyarrow as pa

from pipelines.rows import rows as rows_lib
from pipelines.rows import spill
from tests.pipelines import fakes


def _rows(count: int) -> pa.Table:
  return fakes.make_rows(*((f'user {number % 7}', number, number) for number in range(count)))


class SpillTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def _write(self, name: str, rows: pa.Table, num_buckets: int) -> list[tuple[int, spill.Slice]]:
    return spill.write(rows, num_buckets, os.path.join(self.folder, name))

  def test_every_row_is_in_the_bucket_of_its_client_and_in_its_order(self) -> None:
    rows = _rows(100)
    written = self._write('0.arrow', rows, 3)
    found = {bucket: next(iter(spill.read([piece]))) for bucket, piece in written}
    self.assertEqual(sum(table.num_rows for table in found.values()), 100)
    for bucket, table in found.items():
      self.assertEqual(set(spill.bucket_of(table[rows_lib.ID].combine_chunks(), 3)), {bucket})
      self.assertEqual(table['number'].to_pylist(), sorted(table['number'].to_pylist()))

  def test_all_rows_of_a_client_meet(self) -> None:
    ids = _rows(100)[rows_lib.ID].combine_chunks()
    buckets = spill.bucket_of(ids, 5)
    for client in set(ids.to_pylist()):
      self.assertLen(set(buckets[[value == client for value in ids.to_pylist()]]), 1)

  def test_clients_spread_evenly(self) -> None:
    # Binomial with mean 1,000 and a deviation of 28: fixed ids, so this never fails by chance.
    ids = fakes.make_rows(*((str(number), 0, 0) for number in range(5_000)))[rows_lib.ID].combine_chunks()
    counts = np.bincount(spill.bucket_of(ids, 5), minlength=5)
    self.assertLess(np.abs(counts - 1_000).max(), 150)

  def test_reads_slices_in_the_order_of_the_input(self) -> None:
    written = [self._write(f'{number}.arrow', _rows(10).slice(number * 5, 5), 1)[0][1] for number in range(2)]
    numbers = [table['number'].to_pylist() for table in spill.read(reversed(written))]
    self.assertEqual(numbers, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])

  def test_writing_again_gives_the_same_bytes(self) -> None:
    for name in ('one.arrow', 'two.arrow'):
      self._write(name, _rows(50), 4)
    one, two = (pathlib.Path(self.folder, name).read_bytes() for name in ('one.arrow', 'two.arrow'))
    self.assertEqual(one, two)


if __name__ == '__main__':
  absltest.main()
