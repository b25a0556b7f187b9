"""Tests of how much the labels of clients differ."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import schema as schema_lib
from pipelines.inspection import label_skew


class LabelSkewTest(parameterized.TestCase):
  def test_figures_of_clients_counted_by_hand(self) -> None:
    skew = label_skew.measure(np.array([[8, 2, 0], [0, 5, 5]]), ('a', 'b', 'c'))
    self.assertEqual((skew.clients, skew.overall_top, skew.overall_top_share), (2, 'a', 0.4))
    self.assertEqual(skew.classes_seen, 2)
    # |0.8 - 0.4| + |0.2 - 0.35| + 0.25, halved, is 0.4; so is the other's.
    self.assertAlmostEqual(skew.distance, 0.4)
    np.testing.assert_allclose(skew.top_shares, [0.53, 0.65, 0.77])
    self.assertEqual(skew.histogram, (0, 0, 0, 0, 0, 1, 0, 0, 1, 0))

  def test_a_client_of_one_label_stands_in_the_last_range(self) -> None:
    self.assertEqual(label_skew.measure(np.array([[7, 0]]), 'ab').histogram[-1], 1)

  def test_clients_that_draw_alike_are_apart_by_chance_only(self) -> None:
    counts = np.random.default_rng(3).multinomial(10, [0.5, 0.3, 0.2], 1_000)
    skew = label_skew.measure(counts, 'abc')
    # Of 1,000 clients the means have a deviation of 0.0025 each: five of their difference's; false alarm: 1 in 10^6.
    self.assertAlmostEqual(skew.distance, skew.distance_by_chance, delta=0.018)
    self.assertGreater(skew.distance, 0.1)

  def test_clients_of_one_label_each_are_further_apart_than_by_chance(self) -> None:
    skew = label_skew.measure(np.eye(4, dtype=int).repeat(25, axis=0) * 100, 'abcd')
    self.assertAlmostEqual(skew.distance, 0.75)
    self.assertLess(skew.distance_by_chance, 0.1)

  @parameterized.parameters(([0, 2, 2, -1, -2], [1, 0, 2]), ([[1, 1], [-1, -1]], [0, 2, 0]), ([], [0, 0, 0]))
  def test_ignored_labels_do_not_count(self, labels: list[int], expected: list[int]) -> None:
    feature = schema_lib.Feature('any', 'int8', ())
    schema = schema_lib.Schema('any', feature, feature, tuple('abc'))
    self.assertEqual(label_skew.count_labels(schema, np.array(labels, np.int8)).tolist(), expected)


if __name__ == '__main__':
  absltest.main()
