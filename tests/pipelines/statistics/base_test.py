"""Tests of what is learned, on the record and on its way there."""

import io
import pickle
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa

from contracts import guarantees
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base

_DP = {
  'what': 'words',
  'source': 'dp',
  'mechanism': 'noisy counts',
  'epsilon': 1.0,
  'delta': 1e-6,
  'unit': 'client',
  'adjacency': guarantees.ADJACENCY,
}


class CheckEntryTest(parameterized.TestCase):
  def test_what_training_can_count(self) -> None:
    base.check_entry(_DP)
    base.check_entry({**_DP, 'epsilon': 0, 'delta': 0, 'words': 7})
    base.check_entry(base.free_entry('classes', 'declared'))

  @parameterized.parameters(
    ({'source': 'exact'}, "source of declared, public, dp, found 'words' and 'exact'"),
    ({'what': None}, "found None and 'dp'"),
    ({'unit': 'row'}, "found 'row' .*: correct the learner"),
    ({'delta': 1.0}, 'and 1.0: correct the learner'),
    ({'mechanism': None}, "Expected the mechanism that 'words' was learned with"),
  )
  def test_refuses(self, changes: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      base.check_entry({**_DP, **changes})


class _Tables(base.Learner):
  """A learner whose sums are tables."""

  cost = guarantees.NOTHING

  def contribute(self, rows: rows_lib.ClientRows) -> pa.Table:
    raise NotImplementedError

  def add(self, first: pa.Table, second: pa.Table) -> pa.Table:
    raise NotImplementedError

  def release(self, total: pa.Table | None) -> base.Release:
    raise NotImplementedError


class TotalTest(parameterized.TestCase):
  @parameterized.parameters((None,), ({'entry': ['a', 'b'], 'votes': [1, 2]},), ({'entry': []},))
  def test_what_is_written_is_read(self, columns: dict[str, list[Any]] | None) -> None:
    total = None if columns is None else pa.table(columns)
    file = io.BytesIO()
    base.write_total(_Tables(), total, file)
    self.assertEqual(base.read_total(_Tables(), pa.BufferReader(file.getvalue())), total)

  def test_reading_runs_no_code(self) -> None:
    payload = pickle.dumps(exec)
    with self.assertRaises(pa.ArrowInvalid):
      base.read_total(_Tables(), pa.BufferReader(payload))


if __name__ == '__main__':
  absltest.main()
