import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from contracts import client_shards
from contracts import schema as schema_lib
from pipelines.declarations import declaration
from pipelines.limits import bounds
from pipelines.limits import splits
from pipelines.rows import reports
from pipelines.rows import rows as rows_lib
from pipelines.shards import shard_building
from pipelines.shards import shard_writing
from tests.pipelines import fakes

_IDENTITY = (rows_lib.ORDER, 'number')


@dataclasses.dataclass(frozen=True)
class Wrapping(fakes.Numbers):
  """Makes larger numbers than its schema has room for."""

  schema = dataclasses.replace(fakes.Numbers.schema, feature=schema_lib.Feature('number', 'uint8', ()))


def _builder(featurizer: fakes.Numbers | None = None, **values: Any) -> shard_building.ShardBuilder:
  limits: dict[str, Any] = {'min_examples_per_client': 1}
  held_out: dict[str, Any] = {'test_users_share': 0.0}
  for name, value in values.items():
    (limits if 'client' in name or name == 'keep' else held_out)[name] = value
  return shard_building.ShardBuilder(
    featurizer or fakes.Numbers(), bounds.Limits(**limits), splits.Splits(**held_out), _IDENTITY
  )


def _build(
  builder: shard_building.ShardBuilder, rows: pa.Table
) -> tuple[dict[tuple[bytes, str], list[int]], shard_writing.ShardContent, reports.Report]:
  """Returns the numbers of each client and split, what they come from, and the account."""
  bucket, report = builder.gather([rows])
  content = builder.build(bucket, report)
  keys = zip(content.client_ids.to_pylist(), [client_shards.SPLITS[place] for place in content.splits], strict=True)
  pieces = zip(content.starts[:-1], content.starts[1:], strict=True)
  found = {key: content.features[a:b].tolist() for key, (a, b) in zip(keys, pieces, strict=True)}
  return found, content, report


def _accounted(report: reports.Report) -> dict[tuple[str, str], int]:
  return {key: number for key, number in report.counts.items() if key[0] != reports.OBSERVED}


def _rows(**counts: int) -> pa.Table:
  return fakes.make_rows(*((name, number, number) for name, count in counts.items() for number in range(count)))


class ShardBuilderTest(parameterized.TestCase):
  def test_the_tail_is_the_last_part_of_a_training_users_examples(self) -> None:
    found, content, report = _build(_builder(tail_share=0.2), _rows(a=10, b=1))
    a, b = fakes.client_id('a'), fakes.client_id('b')
    self.assertEqual(found, {(a, 'train'): list(range(8)), (a, 'tail'): [8, 9], (b, 'train'): [0]})
    self.assertEqual(sorted(content.rows), [0, 1, 10])
    self.assertEqual(_accounted(report), {(reports.USED, ''): 11})

  def test_entries_are_sorted_as_a_shard_wants_them(self) -> None:
    _, content, _ = _build(_builder(tail_share=0.5, tail='random'), _rows(a=9, b=9, c=9, d=9))
    keys = list(zip(content.client_ids.to_pylist(), content.splits.tolist(), strict=True))
    self.assertEqual(keys, sorted(set(keys)))
    self.assertLen(keys, 8)

  def test_held_out_users_keep_all_they_have(self) -> None:
    builder = _builder(test_users_share=0.5, validation_users_share=0.4)
    found, _, _ = _build(builder, _rows(**dict.fromkeys('abcdefgh', 5)))
    self.assertContainsSubset({'test', 'validation'}, {split for _, split in found})
    for (_, split), numbers in found.items():
      if split in ('test', 'validation'):
        self.assertEqual(numbers, list(range(5)))

  def test_training_clients_with_too_little_stay_without_examples(self) -> None:
    found, content, report = _build(_builder(min_examples_per_client=3, tail_share=0.0), _rows(a=2, b=3, c=1))
    a, b, c = (fakes.client_id(name) for name in 'abc')
    self.assertEqual(found, {(a, 'train'): [], (b, 'train'): [0, 1, 2], (c, 'train'): []})
    self.assertEqual(int(content.rows.sum()), 3)
    self.assertEqual(report.reasons(reports.EMPTY), {'too_little_data': 2})
    self.assertEqual(report.reasons(reports.SET_ASIDE), {})
    self.assertEqual(report.reasons(reports.BOUNDED), {'too_little_data': 3})

  def test_held_out_clients_with_too_little_are_set_aside(self) -> None:
    builder = _builder(min_examples_per_client=3, test_users_share=0.99)
    found, _, report = _build(builder, _rows(a=2, b=3, c=1))
    self.assertEqual(found, {(fakes.client_id('b'), 'test'): [0, 1, 2]})
    self.assertEqual(report.reasons(reports.SET_ASIDE), {'too_little_data': 2})
    self.assertEqual(report.reasons(reports.EMPTY), {})

  def test_nobody_has_enough(self) -> None:
    found, content, report = _build(_builder(min_examples_per_client=5), _rows(a=2, b=3))
    self.assertEqual(found, {(fakes.client_id(name), 'train'): [] for name in 'ab'})
    self.assertEqual((content.features.shape, content.rows.tolist()), ((0,), [0, 0]))
    self.assertEqual(report.total(reports.BOUNDED), 5)

  @hypothesis.given(strategies.lists(strategies.integers(0, 4), min_size=1, max_size=8), strategies.integers(1, 3))
  def test_the_population_does_not_depend_on_what_clients_have(self, counts: list[int], least: int) -> None:
    """Zero-out: a client's data replaced by none changes neither the training ids nor the others' entries."""
    builder = _builder(min_examples_per_client=least, test_users_share=0.3)
    names = 'abcdefgh'[: len(counts)]
    ids = pa.table({rows_lib.ID: _rows(**dict.fromkeys(names, 1))[rows_lib.ID]})
    whole, _ = builder.gather([ids, _rows(x=1, **dict(zip(names, counts, strict=True)))])
    found = builder.build(whole, reports.Report())
    everyone = [fakes.client_id(name) for name in names + 'x']
    split = builder.splits.of_users(np.frombuffer(b''.join(everyone), np.uint8).reshape(-1, 16))
    training = {client for client, split in zip(found.client_ids.to_pylist(), found.splits, strict=True) if split == 0}
    self.assertEqual(training, {client for client, place in zip(everyone, split, strict=True) if place == 0})
    self.assertEqual(builder.count_clients(whole)['train'], len(training))
    keys = list(zip(found.client_ids.to_pylist(), found.splits.tolist(), strict=True))
    self.assertEqual(keys, sorted(set(keys)))

  def test_rows_that_no_example_draws_on(self) -> None:
    # Examples of rows 0-1, 3-4 and 6-7, of which two are kept: rows 2 and 5 lie between, 8 at the end.
    featurizer = fakes.Numbers(stride=3, reach=1)
    found, content, report = _build(
      _builder(featurizer, max_examples_per_client=2, keep='random', tail_share=0.0), _rows(a=9)
    )
    self.assertLen(found[fakes.client_id('a'), 'train'], 2)
    self.assertEqual(report.reasons(reports.BOUNDED), {'in_no_example': 3, 'max_examples_per_client': 2})
    self.assertEqual((report.total(reports.USED), content.rows.tolist()), (4, [4]))

  def test_examples_that_reach_into_the_tail_are_not_used(self) -> None:
    # Examples of rows 0-3, 2-5, ... 16-19: the tail is the last two, rows 14-19, into which those from 12 on reach.
    featurizer = fakes.Numbers(stride=2, reach=3)
    found, content, report = _build(_builder(featurizer, tail_share=0.2), _rows(a=20, b=6))
    a, b = fakes.client_id('a'), fakes.client_id('b')
    # The two examples of b overlap, so that with a tail nothing would be left to train on.
    self.assertEqual(found, {(a, 'train'): [0, 2, 4, 6, 8, 10], (a, 'tail'): [14, 16], (b, 'train'): [0, 2]})
    self.assertEqual(sorted(content.rows), [0, 6, 20])
    self.assertEqual(_accounted(report), {(reports.USED, ''): 26})

  def test_rows_that_only_unused_examples_draw_on_are_counted(self) -> None:
    # Examples of rows 0-3, 3-6, 6-9 and, the tail, 9-12: without the third, nothing draws on rows 7 and 8.
    found, _, report = _build(_builder(fakes.Numbers(stride=3, reach=3)), _rows(a=13))
    a = fakes.client_id('a')
    self.assertEqual(found, {(a, 'train'): [0, 3], (a, 'tail'): [9]})
    self.assertEqual(report.reasons(reports.BOUNDED), {'overlaps_tail': 2})
    self.assertEqual(report.total(reports.USED), 11)

  @hypothesis.given(
    strategies.lists(strategies.integers(0, 25), min_size=1, max_size=4),
    strategies.integers(1, 4),
    strategies.integers(0, 6),
    strategies.floats(0, 0.9),
    strategies.sampled_from(bounds.KEEPS),
  )
  def test_no_row_of_a_tail_is_trained_on(
    self, counts: list[int], stride: int, reach: int, tail_share: float, keep: str
  ) -> None:
    rows = _rows(a=1, **dict(zip('bcde', counts, strict=False)))
    builder = _builder(
      fakes.Numbers(stride=stride, reach=reach), tail_share=tail_share, keep=keep, max_examples_per_client=8
    )
    found, _, _ = _build(builder, rows)
    for (client, split), numbers in found.items():
      if split == 'tail':
        self.assertLess(max(found[client, 'train']) + reach, min(numbers))

  def test_nobody_is_left_with_fewer_examples_than_asked_for(self) -> None:
    featurizer = fakes.Numbers(stride=1, reach=2)
    for least, clients in ((8, 1), (9, 0)):
      found, _, report = _build(_builder(featurizer, min_examples_per_client=least), _rows(a=12))
      self.assertLen([numbers for (_, split), numbers in found.items() if split == 'train' and numbers], clients)
      self.assertEqual(report.total(reports.USED) + report.total(reports.BOUNDED), 12)

  def test_held_out_users_keep_examples_that_overlap(self) -> None:
    builder = _builder(fakes.Numbers(stride=1, reach=2), test_users_share=0.99)
    found, _, _ = _build(builder, _rows(a=12))
    self.assertEqual(found, {(fakes.client_id('a'), 'test'): list(range(10))})

  def test_clients_whose_rows_are_all_too_large_have_no_usable_row(self) -> None:
    found, _, report = _build(_builder(max_bytes_per_client=31), _rows(a=3, b=1))
    self.assertEqual(found, {(fakes.client_id(name), 'train'): [] for name in 'ab'})
    self.assertEqual(report.reasons(reports.EMPTY), {'no_usable_row': 2})
    self.assertEqual(report.reasons(reports.BOUNDED), {'row_too_large': 4})

  def test_examples_that_do_not_fit_the_schema_are_a_problem(self) -> None:
    rows = fakes.make_rows(('a', 0, 1), ('a', 1, 300), ('b', 0, 2))
    found, content, report = _build(_builder(Wrapping()), rows)
    self.assertEqual((found, content.features.dtype), ({}, np.uint8))
    self.assertLen(report.problems, 1)
    self.assertRegex(report.problems[0], r'^Expected features uint8 \[3\] of Wrapping, found int64 \[3\]: its starts')

  def test_training_rows_are_those_of_training_users(self) -> None:
    builder = _builder(test_users_share=0.5)
    bucket, _ = builder.gather([_rows(**dict.fromkeys('abcdefgh', 3))])
    trained = builder.splits.of_users(bucket.ids) == client_shards.SPLITS.index('train')
    rows = builder.training_rows(bucket)
    self.assertBetween(int(trained.sum()), 1, 7)
    self.assertEqual(rows.starts.tolist(), [3 * place for place in range(trained.sum() + 1)])
    self.assertEqual(rows.table['number'].to_pylist(), [0, 1, 2] * trained.sum())

  @hypothesis.given(
    strategies.lists(
      strategies.tuples(strategies.sampled_from('abcde'), strategies.integers(0, 6), strategies.integers(0, 2)),
      min_size=1,
    ),
    strategies.builds(fakes.Numbers, stride=strategies.integers(1, 3), reach=strategies.integers(0, 2)),
    strategies.integers(1, 3),
    strategies.sampled_from(bounds.KEEPS),
    strategies.integers(1, 3),
    strategies.integers(0, 200),
    strategies.sampled_from(splits.TAILS),
  )
  def test_every_row_is_accounted_for(
    self,
    rows: list,
    featurizer: fakes.Numbers,
    limit: int,
    keep: str,
    least: int,
    max_bytes: int,
    tail: str,
  ) -> None:
    builder = _builder(
      featurizer,
      max_examples_per_client=max(limit, least),
      min_examples_per_client=least,
      keep=keep,
      max_bytes_per_client=max_bytes + 1,
      tail=tail,
      tail_share=0.4,
      test_users_share=0.3,
    )
    _, content, report = _build(builder, fakes.make_rows(*rows))
    accounted = sum(report.total(kind) for kind in (reports.USED, reports.BOUNDED, reports.QUARANTINED))
    self.assertEqual(accounted, len(rows))
    self.assertEqual(int(content.rows.sum()), report.total(reports.USED))
    held = dict.fromkeys(content.client_ids.to_pylist(), 0)
    for client, count in zip(content.client_ids.to_pylist(), np.diff(content.starts), strict=True):
      held[client] += count
    self.assertTrue(all(not count or least <= count <= max(limit, least) for count in held.values()))


class RowIdentityTest(parameterized.TestCase):
  @parameterized.parameters(
    (True, (*_IDENTITY, rows_lib.REST)),
    (False, ()),
    (('number',), ('number',)),
    (('time', 'number'), (rows_lib.ORDER, 'number')),
  )
  def test_identity(self, declared: bool | tuple[str, ...], expected: tuple[str, ...]) -> None:
    client = declaration.Client('user', 'time', drop_duplicates=declared)
    self.assertEqual(shard_building.row_identity(client, fakes.Numbers()), expected)

  def test_without_an_order_no_two_rows_are_alike(self) -> None:
    self.assertEqual(shard_building.row_identity(declaration.Client('user'), fakes.Numbers()), _IDENTITY)


if __name__ == '__main__':
  absltest.main()
