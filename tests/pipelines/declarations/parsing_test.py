from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines.declarations import declaration
from pipelines.declarations import parsing
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.readers import base as readers
from pipelines.readers import delimited
from pipelines.readers import jsonl
from pipelines.rows import columns
from pipelines.rows import columns as columns_lib
from pipelines.rows import reports
from pipelines.rows import rows as rows_lib
from tests.pipelines import fakes

_PART = readers.Part('log.jsonl', file=3)
_CLIENT = declaration.Client('user', 'time')


def _declare(client: declaration.Client = _CLIENT, featurizer: fakes.Numbers | None = None) -> declaration.Declaration:
  return declaration.Declaration(
    'test', jsonl.JsonLines(), client, featurizer or fakes.Numbers(), bounds.Limits(), splits.Splits()
  )


def _with_rest(table: pa.Table) -> pa.Table:
  return table.append_column(rows_lib.REST, pa.array(np.arange(table.num_rows, dtype=np.uint32)))


def _read(columns: Mapping[str, Sequence[Any]], **values: Any) -> tuple[pa.Table, dict[str, int]]:
  table = pa.table(dict(columns))
  block = readers.Block(_with_rest(table), np.arange(table.num_rows) * 10, values.pop('refused', {}))
  rows = parsing.read_block(block, _PART, _declare(**values), fakes.KEY)
  if rows.counts.get((reports.READ, '')) != (rows.table.num_rows + sum(rows.refused.values()) or None):
    raise AssertionError(str(rows.counts))
  return rows.table, rows.refused


@dataclasses.dataclass(frozen=True)
class _Floats(fakes.Numbers):
  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return (columns.Column('number', columns.Number()),)


class ReadBlockTest(parameterized.TestCase):
  def test_rows(self) -> None:
    rows, refused = _read({'user': ['ann', 'bob'], 'time': [7, 5], 'number': [1, 2]})
    self.assertEqual(rows.schema, rows_lib.row_schema(fakes.Numbers().columns, with_rest=True))
    self.assertEqual(rows[rows_lib.REST].to_pylist(), [0, 1])
    self.assertEqual(rows[rows_lib.ID].to_pylist(), [fakes.client_id('ann'), fakes.client_id('bob')])
    self.assertEqual(rows[rows_lib.ORDER].to_pylist(), [7, 5])
    self.assertEqual(rows['number'].to_pylist(), [1, 2])
    self.assertEqual(refused, {})

  def test_decimal_commas_are_of_numbers_alone(self) -> None:
    reader = delimited.Csv(delimiter=';', decimal=',')
    client = declaration.Client('user', 'time', order_type='number')
    declared = dataclasses.replace(_declare(client, _Floats()), reader=reader)
    table = pa.table({'user': ['1,5', 'b', 'c'], 'time': ['7,5', '5', '1.5'], 'number': ['1,25', '1.250', '3']})
    rows = parsing.read_block(readers.Block(_with_rest(table), np.arange(3), {}), _PART, declared, fakes.KEY)
    self.assertEqual(rows.table[rows_lib.ID].to_pylist(), [fakes.client_id('1,5')])
    self.assertEqual(rows.table['number'].to_pylist(), [1.25])
    # A point may be one of thousands: nobody guesses.
    self.assertEqual(sum(rows.refused.values()), 2)

  def test_notes_of_the_reader_are_counted(self) -> None:
    table = _with_rest(pa.table({'user': ['a'], 'time': [1], 'number': [2]}))
    block = readers.Block(table, np.zeros(1), {}, notes={'seen': 3})
    rows = parsing.read_block(block, _PART, _declare(), fakes.KEY)
    self.assertEqual(rows.notes, {'seen': 3})

  def test_no_raw_id_goes_on(self) -> None:
    rows, _ = _read({'user': ['ann'], 'time': [7], 'number': [1]})
    self.assertNotIn('ann', str(rows.to_pydict()))

  def test_the_place_in_the_input_orders_rows_without_an_order(self) -> None:
    rows, _ = _read({'user': ['ann', 'bob'], 'number': [1, 2]}, client=declaration.Client('user'))
    self.assertEqual(rows[rows_lib.ORDER].to_pylist(), [3 << 44, (3 << 44) + 10])

  def test_a_row_is_refused_for_its_first_fault_alone(self) -> None:
    users, times, numbers = ['ann', '', None, 'bob', 'ann'], [1, None, 3, None, 5], [1, None, 3, None, None]
    columns: dict[str, Any] = {'user': users, 'time': times, 'number': numbers}
    rows, refused = _read(columns, refused={'not_json': 2})
    self.assertEqual(rows['number'].to_pylist(), [1])
    self.assertEqual(refused, {'not_json': 2, 'no_client_id': 2, 'no_order': 1, 'missing:number': 1})

  def test_other_spellings_of_an_id_are_counted_where_the_row_is_used(self) -> None:
    table = pa.table({'user': ['ann', 'ann ', '7.0', 'bob '], 'time': [1, 2, 3, None], 'number': [1, 2, 3, 4]})
    rows = parsing.read_block(readers.Block(_with_rest(table), np.arange(4), {}), _PART, _declare(), fakes.KEY)
    self.assertEqual(rows.table[rows_lib.ID].to_pylist(), [fakes.client_id(name) for name in ('ann', 'ann', '7')])
    self.assertEqual(rows.counts[reports.NOTES, 'client_id_normalized'], 2)

  def test_clients_that_only_have_refused_rows_are_named(self) -> None:
    users = ['ann', 'bob', 'cid', None, 'bob', 'dan', 'x' * 2_000]
    table = pa.table({'user': users, 'time': [1, None, 3, 4, 5, 6, 7], 'number': [1, 2, None, None, None, 6, None]})
    rows = parsing.read_block(readers.Block(_with_rest(table), np.arange(7), {}), _PART, _declare(), fakes.KEY)
    self.assertEqual(rows.table['number'].to_pylist(), [1, 6])
    self.assertCountEqual(rows.bare_ids[rows_lib.ID].to_pylist(), map(fakes.client_id, ('bob', 'cid')))
    self.assertEqual(rows.bare_ids.column_names, [rows_lib.ID])

  def test_undeclared_values_are_counted_for_the_message(self) -> None:
    kind = columns_lib.Category(('0', '1'))
    featurizer = mock.Mock(columns=(columns_lib.Column('label', kind),))
    table = pa.table({'user': ['ann'] * 11, 'label': ['no'] * 10 + ['1.0']})
    declaration_ = _declare(declaration.Client('user'), featurizer)
    rows = parsing.read_block(readers.Block(_with_rest(table), np.arange(11), {}), _PART, declaration_, fakes.KEY)
    self.assertEqual(rows.table['label'].to_pylist(), [1])
    self.assertEqual(rows.counts[reports.FOUND, 'label=no'], 10)

  def test_a_feature_may_be_called_anything(self) -> None:
    for name in ('position', 'client_id', 'order', 'split'):
      rows, _ = _read({'user': ['ann'], 'time': [4], name: [1]}, featurizer=fakes.Numbers(name))
      self.assertEqual(rows[name].to_pylist(), [1])

  def test_a_column_in_pieces(self) -> None:
    pieces = pa.chunked_array([['ann'], [], ['bob', 'cid']])
    rows, _ = _read({'user': pieces, 'time': [1, 2, 3], 'number': [1, 2, 3]})
    self.assertEqual(rows[rows_lib.ID].to_pylist(), [fakes.client_id(name) for name in ('ann', 'bob', 'cid')])

  def test_no_rows(self) -> None:
    rows, refused = _read({'user': pa.nulls(0), 'time': pa.nulls(0), 'number': pa.nulls(0)})
    self.assertEqual((rows.num_rows, refused), (0, {}))

  @hypothesis.given(
    strategies.lists(
      strategies.tuples(
        strategies.one_of(strategies.none(), strategies.sampled_from(['', ' ', 'ann'])),
        strategies.one_of(strategies.none(), strategies.integers(-5, 5)),
        strategies.one_of(strategies.none(), strategies.integers(-5, 5)),
      ),
      min_size=1,
    )
  )
  def test_every_row_is_used_or_refused(self, values: list) -> None:
    users, times, numbers = zip(*values, strict=True)
    columns = {'user': pa.array(users, pa.string()), 'time': times, 'number': pa.array(numbers, pa.int64())}
    rows, refused = _read(columns)
    self.assertEqual(rows.num_rows + sum(refused.values()), len(values))
    self.assertEqual(
      list(zip(rows[rows_lib.ORDER].to_pylist(), rows['number'].to_pylist(), strict=True)),
      [(time, number) for user, time, number in values if user == 'ann' and time is not None and number is not None],
    )


class RawColumnsTest(absltest.TestCase):
  def test_each_column_once(self) -> None:
    self.assertEqual(parsing.raw_columns(_declare()), ['user', 'time', 'number', rows_lib.REST])
    self.assertEqual(parsing.raw_columns(_declare(dataclasses.replace(_CLIENT, order=None))), ['user', 'number'])
    self.assertEqual(parsing.raw_columns(_declare(featurizer=fakes.Numbers('time'))), ['user', 'time', rows_lib.REST])

  def test_what_else_a_row_holds_is_asked_for_where_it_can_tell_two_rows_apart(self) -> None:
    choices: tuple[bool | tuple[str, ...], ...] = (False, ('time', 'number'))
    for drop_duplicates in choices:
      declared = _declare(dataclasses.replace(_CLIENT, drop_duplicates=drop_duplicates))
      self.assertEqual(parsing.raw_columns(declared), ['user', 'time', 'number'])
      self.assertEqual(parsing.schema_of(declared), rows_lib.row_schema(fakes.Numbers().columns))


if __name__ == '__main__':
  absltest.main()
