from collections.abc import Iterator, Sequence
import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.limits import bounds
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib
from tests.pipelines import fakes

_IDENTITY = (rows_lib.ORDER, 'number')
_ROWS = strategies.lists(
  strategies.tuples(strategies.sampled_from('abc'), strategies.integers(0, 5), strategies.integers(0, 3)), min_size=1
)

_NOTED_ROWS = strategies.lists(
  strategies.tuples(
    strategies.sampled_from('ab'),
    strategies.integers(0, 5),
    strategies.integers(0, 3),
    strategies.sampled_from(['', 'x', 'yyyy', 'z' * 9, 'w' * 40]),
  ),
  min_size=1,
)


@dataclasses.dataclass(frozen=True)
class _Notes(fakes.Numbers):
  """Rows of a number and a note, whose size varies, and which may be what the row weighs."""

  is_weighed: bool = False

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return (*super().columns, columns.Column('note', columns.Text()))

  def weigh(self, rows: pa.Table) -> np.ndarray | None:
    return pc.binary_length(rows['note']).to_numpy() + 1 if self.is_weighed else None

  def weight_needed(self, examples: int) -> int:
    return (4 if self.is_weighed else 1) * examples


def _note_rows(rows: list[tuple[str, int, int, str]]) -> pa.Table:
  notes = pa.array([note for *_, note in rows], pa.large_string())
  return fakes.make_rows(*(row[:3] for row in rows)).append_column('note', notes)


def _bounds(identity: Sequence[str] = _IDENTITY, **limits: Any) -> bounds.Bounds:
  return bounds.Bounds(bounds.Limits(min_examples_per_client=1, **limits), fakes.Numbers(), identity)


def _numbers(rows: pa.Table) -> dict[str, list[int]]:
  """Returns the numbers of each client's rows, in their order."""
  names = {fakes.client_id(name): name for name in 'abc'}
  found: dict[str, list[int]] = {}
  for client, number in zip(rows[rows_lib.ID].to_pylist(), rows['number'].to_pylist(), strict=True):
    found.setdefault(names[client], []).append(number)
  return found


class GatherTest(parameterized.TestCase):
  def test_puts_a_clients_rows_in_their_order(self) -> None:
    kept, removed, _ = _bounds().gather([fakes.make_rows(('a', 3, 30), ('b', 1, 5), ('a', -1, 10), ('a', 2, 20))])
    self.assertEqual(_numbers(kept), {'a': [10, 20, 30], 'b': [5]})
    self.assertFalse(any(removed.values()))

  def test_rows_alike_in_order_stay_as_they_came(self) -> None:
    kept, _, _ = _bounds(()).gather([fakes.make_rows(('a', 1, 3), ('a', 1, 1), ('a', 1, 2), ('a', 1, 1))])
    self.assertEqual(_numbers(kept), {'a': [3, 1, 2, 1]})

  def test_orders_at_both_ends_of_64_bits(self) -> None:
    kept, _, _ = _bounds().gather([fakes.make_rows(('a', 2**63 - 1, 2), ('b', 0, 7), ('a', -(2**63), 1))])
    self.assertEqual(_numbers(kept), {'a': [1, 2], 'b': [7]})

  def test_drops_duplicates_of_a_client(self) -> None:
    kept, removed, _ = _bounds().gather(
      [fakes.make_rows(('a', 1, 1), ('a', 1, 2), ('b', 1, 1), ('a', 1, 1)), fakes.make_rows(('a', 1, 2), ('a', 2, 2))]
    )
    self.assertEqual(_numbers(kept), {'a': [1, 2, 2], 'b': [1]})
    self.assertEqual(removed[bounds.DUPLICATE], 2)

  def test_drops_duplicates_whatever_their_order_if_so_declared(self) -> None:
    rows = fakes.make_rows(('a', 1, 7), ('a', 2, 8), ('a', 3, 7), ('b', 1, 7))
    kept, removed, _ = _bounds(('number',)).gather([rows])
    self.assertEqual(_numbers(kept), {'a': [7, 8], 'b': [7]})
    self.assertEqual(removed[bounds.DUPLICATE], 1)

  @parameterized.parameters(('first', [0, 1, 2]), ('latest', [7, 8, 9]), ('random', list(range(10))))
  def test_keeps_no_more_rows_than_examples_need(self, keep: str, expected: list[int]) -> None:
    rows = fakes.make_rows(*(('a', place, place) for place in range(10)), ('b', 0, 5))
    kept, removed, _ = _bounds(max_examples_per_client=3, keep=keep).gather([rows])
    self.assertEqual(_numbers(kept), {'a': expected, 'b': [5]})
    self.assertEqual(removed[bounds.MAX_EXAMPLES], 10 - len(expected))

  @parameterized.parameters(('first', [0, 1]), ('latest', [8, 9]), ('random', [0, 1]))
  def test_keeps_no_more_bytes_than_allowed(self, keep: str, expected: list[int]) -> None:
    rows = fakes.make_rows(*(('a', place, place) for place in range(10)))
    row_bytes = 16 + 8 + 8
    kept, removed, _ = _bounds(max_bytes_per_client=3 * row_bytes - 1, keep=keep).gather([rows])
    self.assertEqual(_numbers(kept), {'a': expected})
    self.assertEqual(removed[bounds.MAX_BYTES], 8)

  @hypothesis.given(_ROWS, strategies.integers(1, 4), strategies.sampled_from(bounds.KEEPS), strategies.integers(1, 9))
  def test_gathering_in_pieces_keeps_the_same(self, rows: list, limit: int, keep: str, piece: int) -> None:
    limited = _bounds(max_examples_per_client=limit, keep=keep)
    table = fakes.make_rows(*rows)
    pieces = [table.slice(start, piece) for start in range(0, len(rows), piece)]
    whole, removed, _ = limited.gather([table])
    self.enter_context_gathered_bytes(0)
    kept, removed_in_pieces, _ = limited.gather(pieces)
    self.assertEqual(_numbers(kept), _numbers(whole))
    for counts in (removed, removed_in_pieces):
      self.assertEqual(kept.num_rows + sum(counts.values()), len(rows))

  @hypothesis.settings(max_examples=200, deadline=None)
  @hypothesis.given(
    _NOTED_ROWS,
    strategies.booleans(),
    strategies.sets(strategies.sampled_from(['number', rows_lib.ORDER])),
    strategies.booleans(),
    strategies.integers(1, 4),
    strategies.integers(30, 300),
    strategies.sampled_from(bounds.KEEPS),
    strategies.integers(1, 9),
  )
  def test_what_a_client_keeps_depends_on_its_rows_alone(
    self,
    rows: list,
    is_weighed: bool,
    names: set[str],
    is_any_twice: bool,
    limit: int,
    size: int,
    keep: str,
    piece: int,
  ) -> None:
    notes = _Notes(is_weighed=is_weighed)
    identity = sorted({*names, *bounds.deciding_columns(notes)}) if is_any_twice else []
    limits = bounds.Limits(limit, keep, size, min_examples_per_client=1)
    limited = bounds.Bounds(limits, notes, identity)
    table = _note_rows(rows)
    self.enter_context_gathered_bytes(0)
    in_pieces, removed, bare = limited.gather([table.slice(start, piece) for start in range(0, len(rows), piece)])
    for client in 'ab':
      alone, _, _ = limited.gather([table.filter(pc.equal(table[rows_lib.ID], pa.scalar(fakes.client_id(client))))])
      found = in_pieces.filter(pc.equal(in_pieces[rows_lib.ID], pa.scalar(fakes.client_id(client))))
      self.assertEqual(found.to_pylist(), alone.to_pylist())
      self.assertLessEqual(sum(16 + 8 + 8 + 8 + len(row['note']) for row in alone.to_pylist()), size)
    present = {client for client, *_ in rows}
    self.assertLen(bare, len(present) - len(in_pieces[rows_lib.ID].unique()))
    self.assertEqual(in_pieces.num_rows + sum(removed.values()), len(rows))

  def test_columns_that_decide_what_a_row_counts_for(self) -> None:
    self.assertEqual(bounds.deciding_columns(_Notes()), ['note'])
    self.assertEqual(bounds.deciding_columns(_Notes(is_weighed=True)), ['number', 'note'])
    self.assertEqual(bounds.deciding_columns(fakes.Numbers()), [])

  @parameterized.parameters(*bounds.KEEPS)
  def test_a_row_that_is_too_large_is_as_if_it_were_not_there(self, keep: str) -> None:
    large, small = ('a', 2, 2, 'x' * 200), [('a', 1, 1, ''), ('a', 3, 3, '')]
    limits = bounds.Limits(max_bytes_per_client=100, keep=keep, min_examples_per_client=1)
    kept, removed, bare = bounds.Bounds(limits, _Notes(), ()).gather([_note_rows([large, *small])])
    self.assertEqual(_numbers(kept), {'a': [1, 3]})
    self.assertEqual((removed[bounds.TOO_LARGE], removed[bounds.MAX_BYTES], bare), (1, 0, []))

  def test_clients_without_any_row_left_are_named_once(self) -> None:
    self.enter_context_gathered_bytes(0)
    large = [(client, order, 0, 'x' * 200) for client in 'abc' for order in (1, 2)]
    limited = bounds.Bounds(bounds.Limits(max_bytes_per_client=100), _Notes(), ())
    kept, removed, bare = limited.gather([_note_rows(large), _note_rows(large), _note_rows([('b', 0, 7, '')])])
    self.assertEqual(_numbers(kept), {'b': [7]})
    self.assertEqual(removed[bounds.TOO_LARGE], 12)
    self.assertEqual(bare, sorted(map(fakes.client_id, 'ac')))

  def test_clients_that_only_have_an_id_are_named_unless_they_have_rows(self) -> None:
    ids = pa.table({rows_lib.ID: fakes.make_rows(('a', 0, 0), ('c', 0, 0), ('a', 0, 0))[rows_lib.ID]})
    kept, removed, bare = _bounds().gather([ids, fakes.make_rows(('a', 1, 5), ('b', 0, 6)), ids])
    self.assertEqual(_numbers(kept), {'a': [5], 'b': [6]})
    self.assertEqual((bare, sum(removed.values())), ([fakes.client_id('c')], 0))
    self.assertEqual(_bounds().gather([ids]).bare_ids, sorted(map(fakes.client_id, 'ac')))

  def test_bytes_of_a_list(self) -> None:
    lists = pa.table({'list': pa.array([[1, 2, 3], [], [4]], pa.list_(pa.int16()))})
    self.assertEqual(bounds._row_bytes(lists).tolist(), [14, 8, 10])

  def enter_context_gathered_bytes(self, size: int) -> None:
    before = bounds._GATHERED_BYTES
    self.addCleanup(setattr, bounds, '_GATHERED_BYTES', before)
    bounds._GATHERED_BYTES = size

  def test_one_user_with_nearly_all_data_does_not_fill_the_memory(self) -> None:
    self.enter_context_gathered_bytes(1 << 20)
    limited = _bounds(max_examples_per_client=10)
    peak = 0

    def tables() -> Iterator[pa.Table]:
      nonlocal peak
      for start in range(0, 2_000_000, 20_000):
        peak = max(peak, pa.total_allocated_bytes())
        rows = fakes.make_rows(('b', 0, 0)).take([0] * 20_000)
        yield rows.set_column(1, rows_lib.ORDER, pa.array(range(start, start + 20_000)))

    before = pa.total_allocated_bytes()
    kept, _, _ = limited.gather(tables())
    self.assertEqual(kept.num_rows, 10)
    self.assertLess(peak - before, 20 << 20)


class SelectTest(parameterized.TestCase):
  def _select(self, keep: str, counts: list[int], limit: int = 3, seed: int = 0) -> list[list[int]]:
    rows = fakes.make_rows(*((name, n, n) for name, count in zip('abc', counts, strict=False) for n in range(count)))
    ids, of_clients = bounds.client_rows(_bounds((), max_examples_per_client=1_000).gather([rows])[0])
    made = fakes.Numbers().featurize(of_clients)
    mask = _bounds(max_examples_per_client=limit, keep=keep, seed=seed).select(made, ids)
    pieces = zip(made.starts[:-1], made.starts[1:], ids, strict=True)
    names = [fakes.client_id(name) for name in 'abc']
    found = {names.index(client.tobytes()): made.features[a:b][mask[a:b]].tolist() for a, b, client in pieces}
    return [found[place] for place in sorted(found)]

  def test_first(self) -> None:
    self.assertEqual(self._select('first', [5, 2, 3]), [[0, 1, 2], [0, 1], [0, 1, 2]])

  def test_latest(self) -> None:
    self.assertEqual(self._select('latest', [5, 2, 3]), [[2, 3, 4], [0, 1], [0, 1, 2]])

  def test_random_is_a_fixed_choice_of_each_client(self) -> None:
    chosen = self._select('random', [100, 100, 2], limit=30)
    self.assertEqual([len(numbers) for numbers in chosen], [30, 30, 2])
    self.assertNotEqual(chosen[0], chosen[1])
    self.assertNotEqual(chosen[0], list(range(30)))
    self.assertEqual(self._select('random', [100, 100, 2], limit=30), chosen)
    self.assertNotEqual(self._select('random', [100, 100, 2], limit=30, seed=1)[0], chosen[0])


class LimitsTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'max_examples_per_client': 0}, 'max_examples_per_client >= 1, found 0'),
    ({'min_examples_per_client': 0}, 'min_examples_per_client >= 1'),
    ({'max_bytes_per_client': -1}, 'max_bytes_per_client >= 1'),
    ({'max_examples_per_client': 2, 'min_examples_per_client': 3}, 'found 3 and 2'),
    ({'seed': -1}, '0 <= seed < 2.63, found -1'),
    ({'seed': 2**63}, '0 <= seed'),
    ({'keep': 'last'}, "first, latest, random, found 'last'"),
  )
  def test_refuses(self, values: dict, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      bounds.Limits(**values)


class ClientRowsTest(absltest.TestCase):
  def test_no_rows(self) -> None:
    ids, rows = bounds.client_rows(_bounds().gather([fakes.make_rows(('a', 0, 0)).slice(0, 0)])[0])
    self.assertEqual((len(ids), rows.starts.tolist()), (0, [0]))

  def test_hands_over_the_feature_columns_only(self) -> None:
    rows_of_two = fakes.make_rows(('b', 0, 1), ('a', 0, 2), ('b', 1, 3))
    ids, rows = bounds.client_rows(_bounds().gather([rows_of_two])[0])
    self.assertEqual(rows.table.column_names, ['number'])
    self.assertCountEqual([client.tobytes() for client in ids], map(fakes.client_id, 'ab'))
    self.assertEqual(np.diff(rows.starts).sum(), 3)


if __name__ == '__main__':
  absltest.main()
