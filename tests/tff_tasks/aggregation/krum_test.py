"""Tests Krum against the paper's definition in NumPy."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from tests.tff_tasks import fakes
from tff_tasks.aggregation import krum


def _reference(rows: np.ndarray, byzantine: int, selected: int) -> np.ndarray:
  scores = []
  for index, row in enumerate(rows):
    others = np.delete(rows, index, axis=0)
    nearest = np.sort(np.sum((others - row) ** 2, axis=1))[: len(rows) - byzantine - 2]
    scores.append(nearest.sum())
  selected = min(selected, len(rows) - byzantine - 2)
  return rows[np.argsort(scores)[:selected]].mean(axis=0)


class KrumTest(parameterized.TestCase):
  @parameterized.parameters((5, 1, 1), (8, 1, 1), (8, 2, 1), (8, 1, 5), (8, 1, 9), (8, 0, 3), (12, 3, 4))
  def test_is_the_papers(self, clients: int, byzantine: int, selected: int) -> None:
    rows = np.random.default_rng(clients + byzantine).normal(size=(clients, 6)).astype(np.float32)
    found = krum.Krum(byzantine, selected).combine(tf.constant(rows))
    np.testing.assert_allclose(found, _reference(rows, byzantine, selected), rtol=1e-5)

  def test_the_order_of_the_rows_does_not_matter_in_a_tie(self) -> None:
    # With one neighbour, the two that are nearest to each other have the same score.
    rows = np.array([[0.0, 5.0], [1.0, 0.0], [1.1, 0.0]], np.float32)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
      np.testing.assert_array_equal(krum.Krum(0).combine(tf.constant(rows[order])), [1.0, 0.0])

  def test_numbers_whose_squares_overflow_are_not_selected(self) -> None:
    rows = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    rows[2:4] = 1e25
    found = krum.Krum(2).combine(tf.constant(rows)).numpy()
    self.assertTrue((np.delete(rows, [2, 3], axis=0) == found).all(axis=1).any(), found)

  @parameterized.parameters((1, 5), (2, 7), (0, 3))
  def test_too_few_clients_change_nothing(self, byzantine: int, fewest: int) -> None:
    built = krum.Krum(byzantine, selected=2)
    rows = np.random.default_rng(0).normal(size=(fewest, 3)).astype(np.float32)
    self.assertTrue(np.any(built.combine(tf.constant(rows))))
    for count in (1, 2, fewest - 1):
      np.testing.assert_array_equal(built.combine(tf.constant(rows[:count])), np.zeros(3))

  def test_refuses_rounds_of_too_few(self) -> None:
    config = dataclasses.replace(fakes.CONFIG, clients_per_round=6)
    with self.assertRaisesRegex(
      ValueError, r'--clients_per_round of at least 7 for Krum\(byzantine=2, selected=1\), found 6: .* more clients'
    ):
      krum.Krum(2).check(config)
    krum.Krum(2).check(dataclasses.replace(config, clients_per_round=7))

  @parameterized.parameters((-1, 1, 'byzantine of at least 0'), (1, 0, 'selected of at least 1'))
  def test_refuses_options_out_of_range(self, byzantine: int, selected: int, message: str) -> None:
    with self.assertRaisesRegex(ValueError, f'Expected {message}, found .*: give .*byzantine=1,selected=1'):
      krum.Krum(byzantine, selected)


if __name__ == '__main__':
  absltest.main()
