"""Tests of the figures of a data set, of its check, and of finding and showing one client."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from pipelines.inspection import inspection
from tests.pipelines import inspected


class InspectionTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())
    self.shards = inspected.write(self.folder)

  def test_each_user_counts_once(self) -> None:
    figures = inspection.measure(self.shards)
    self.assertEqual(figures.users, 5)
    self.assertEqual(figures.spreads['train'], inspection.Spread(3, 31, 2, 4.0, 31 / 3, 25))
    self.assertSequenceEqual(list(figures.spreads), ['train', 'tail', 'validation', 'test'])

  def test_training_users_without_examples_are_counted_apart(self) -> None:
    folder = self.enterContext(tempfile.TemporaryDirectory())
    shards = inspected.write(folder, empty=('fay', 'gus'))
    figures = inspection.measure(shards)
    self.assertEqual(figures.users, 7)
    self.assertEqual(figures.spreads['train'], inspection.Spread(3, 31, 2, 4.0, 31 / 3, 25, empty=2))
    without = inspection.measure(self.shards)
    self.assertEqual((figures.sizes, figures.skew), (without.sizes, without.skew))
    self.assertEqual(inspection.verify(shards), 8)
    shown = inspection.describe_client(shards, inspected.make_id('fay').hex())
    self.assertIn('train: 0 examples; most frequent labels: none', shown)

  def test_training_users_by_size(self) -> None:
    figures = inspection.measure(self.shards)
    self.assertEqual(figures.sizes, inspection.Histogram((2, 5, 10, 20, 50), (2, 0, 0, 1)))

  @parameterized.parameters(
    ([1], (1, 2), (1,)),
    ([1, 4, 5, 9, 10, 10], (1, 2, 5, 10, 20), (1, 1, 2, 2)),
    ([99, 100, 1_000], (50, 100, 200, 500, 1_000, 2_000), (1, 1, 0, 0, 1)),
    ([], (1,), ()),
  )
  def test_every_size_has_its_range(self, sizes: list[int], edges: tuple[int, ...], counts: tuple[int, ...]) -> None:
    found = inspection.count_by_size(np.array(sizes, np.int64))
    self.assertEqual(found, inspection.Histogram(edges, counts))

  def test_dropped_rows_by_reason_most_first(self) -> None:
    dropped = inspection.measure(self.shards).dropped
    self.assertSequenceEqual(
      list(dropped.items()), [('max_examples_per_client', 12), ('duplicate_row', 10), ('no_label', 1)]
    )

  def test_label_skew_of_training_clients(self) -> None:
    skew = inspection.measure(self.shards).skew
    assert skew is not None
    self.assertEqual((skew.clients, skew.overall_top), (3, 'walk'))
    self.assertAlmostEqual(skew.overall_top_share, 20 / 26)
    self.assertEqual(skew.histogram, (0, 0, 0, 0, 0, 1, 0, 1, 0, 1))

  def test_skew_looks_at_a_sample_always_the_same(self) -> None:
    with (
      mock.patch.object(inspection, 'MOST_SAMPLED', 2),
      mock.patch.object(self.shards, 'read', wraps=self.shards.read) as read,
    ):
      first, second = inspection.measure(self.shards).skew, inspection.measure(self.shards).skew
    assert first is not None
    self.assertEqual(first.clients, 2)
    self.assertEqual(first, second)
    # Twice two training clients, and one of each other split.
    self.assertEqual(read.call_count, 2 * (2 + 3))

  def test_labels_by_split(self) -> None:
    labels = inspection.measure(self.shards).labels
    self.assertEqual(labels.clients, {'train': 3, 'tail': 1, 'validation': 1, 'test': 1})
    expected = {'train': [20, 6, 0], 'tail': [0, 1, 0], 'validation': [0, 3, 0], 'test': [0, 0, 2]}
    self.assertEqual({split: counts.tolist() for split, counts in labels.counts.items()}, expected)

  def test_verify_reads_every_entry(self) -> None:
    self.assertEqual(inspection.verify(self.shards), 6)

  def test_verify_names_a_file_that_is_damaged_where_no_client_is(self) -> None:
    path = pathlib.Path(self.folder, 'shard-00001-of-00002.arrow')
    path.write_bytes(path.read_bytes()[:-1] + b'?')
    shards = client_shards.ClientShards(self.folder)
    with mock.patch.object(shards, 'read'), self.assertRaisesRegex(ValueError, 'the shard-00001-of-00002.arrow that'):
      inspection.verify(shards)

  def test_verify_checks_each_clients_own_sum_too(self) -> None:
    with (
      mock.patch.object(client_shards.ClientShards, 'verify'),
      mock.patch.object(client_shards.ClientShards, 'read', side_effect=ValueError('one client')),
      self.assertRaisesRegex(ValueError, 'one client'),
    ):
      inspection.verify(self.shards)

  @parameterized.parameters(
    ('0', 'amy'),
    ('2', 'dan'),
    (inspected.make_id('eve').hex(), 'eve'),
    ('6379', 'cy'),
    ('657', 'eve'),
    ('62', 'bo'),  # No 62nd training client, so these are the digits of an id.
  )
  def test_finds_a_client(self, wanted: str, name: str) -> None:
    self.assertEqual(inspection.find_client(self.shards, wanted), inspected.make_id(name).hex())

  @parameterized.parameters(('3', 'no'), ('6', '5'), ('amy', 'no'), ('ff', 'no'), ('', 'no'))
  def test_refuses_what_is_not_one_client(self, wanted: str, found: str) -> None:
    remedy = 'another' if found == 'no' else 'more of its digits'
    with self.assertRaisesRegex(ValueError, f'Expected --client to be .* below 3 .* {found} clients .* give {remedy}'):
      inspection.find_client(self.shards, wanted)
    amy = inspected.make_id('amy').hex()
    more = amy if amy.startswith(wanted) else '0'
    self.assertEqual(inspection.find_client(self.shards, more), self.shards.client_id('train', 0))

  def test_the_end_of_an_id_has_to_agree_as_well(self) -> None:
    wanted = inspected.make_id('eve').hex()[:-1]
    self.assertEqual(inspection.find_client(self.shards, wanted), inspected.make_id('eve').hex())
    with self.assertRaisesRegex(ValueError, 'no clients'):
      inspection.find_client(self.shards, wanted[:-1] + 'ff')

  def test_shows_a_client_in_all_of_its_splits(self) -> None:
    shown = inspection.describe_client(self.shards, inspected.make_id('amy').hex())
    self.assertIn("train: 4 examples; most frequent labels: 'walk' 100%", shown)
    self.assertIn("tail: 1 example; most frequent labels: 'sit' 100%", shown)
    self.assertEqual(shown.count('label: walk'), 3)
    self.assertNotIn('validation', shown)

  def test_the_most_frequent_labels_come_first(self) -> None:
    shown = inspection.describe_client(self.shards, inspected.make_id('bo').hex())
    self.assertIn("'walk' 75%, 'sit' 25%", shown)


if __name__ == '__main__':
  absltest.main()
