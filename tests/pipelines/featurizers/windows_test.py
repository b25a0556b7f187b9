"""Tests of windows over time series, by hand and against a plain version that sees one client at a time."""

from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
import pyarrow as pa

from pipelines.featurizers import windows
from pipelines.rows import rows as rows_lib


def _make(**options: Any) -> windows.Windows:
  given = {'numbers': ('x', 'y'), 'length': 3, 'stride': 2, 'label': 'kind', 'classes': ('a', 'b', 'c'), **options}
  return windows.Windows(**given)


def _rows(sizes: list[int], places: list[int]) -> rows_lib.ClientRows:
  """Row `r` has x = r, y = -r."""
  numbers = np.arange(sum(sizes), dtype=np.float64)
  table = pa.table({'kind': pa.array(places, pa.int32()), 'y': -numbers, 'x': numbers})
  return rows_lib.ClientRows(table, np.cumsum([0, *sizes]))


class WindowsTest(parameterized.TestCase):
  def test_by_hand(self) -> None:
    made = _make().featurize(_rows([6, 2, 3], [0, 0, 1, 1, 1, 2, 2, 2, 2, 1, 1]))
    self.assertSequenceEqual(made.features[..., 0].tolist(), [[0, 1, 2], [2, 3, 4], [8, 9, 10]])
    np.testing.assert_array_equal(made.features[..., 1], -made.features[..., 0])
    self.assertSequenceEqual(made.labels.tolist(), [0, 1, 1])
    self.assertSequenceEqual(made.starts.tolist(), [0, 2, 2, 3])
    self.assertSequenceEqual(made.first_row.tolist(), [0, 2, 8])
    self.assertSequenceEqual(made.last_row.tolist(), [2, 4, 10])
    self.assertEqual((made.features.dtype, made.labels.dtype), (np.float32, np.int8))
    self.assertEqual(_make().schema.feature.shape, made.features.shape[1:])

  @parameterized.parameters((3, False), (4, False), (2, True), (1, True))
  def test_windows_closer_than_their_length_overlap(self, stride: int, expected: bool) -> None:
    self.assertEqual(_make(stride=stride).examples_overlap, expected)

  @parameterized.parameters(([2, 0, 1], 0), ([2, 1, 2], 2), ([1, 1, 0], 1), ([2, 2, 2], 2))
  def test_the_label_of_most_rows_and_the_first_class_of_several(self, places: list[int], expected: int) -> None:
    self.assertSequenceEqual(_make().featurize(_rows([3], places)).labels.tolist(), [expected])

  @parameterized.parameters(([],), ([0],), ([2, 2, 1],))
  def test_too_few_rows_are_no_window(self, sizes: list[int]) -> None:
    made = _make().featurize(_rows(sizes, [0] * sum(sizes)))
    self.assertEqual((made.features.shape, made.labels.shape), ((0, 3, 2), (0,)))
    self.assertSequenceEqual(made.starts.tolist(), [0] * (len(sizes) + 1))

  @hypothesis.settings(deadline=None, max_examples=200)
  @hypothesis.given(
    sizes=strategies.lists(strategies.integers(0, 12), max_size=5),
    length=strategies.integers(1, 5),
    stride=strategies.integers(1, 7),
    seed=strategies.integers(0, 99),
  )
  def test_all_clients_at_once_are_each_client_read_slowly(
    self, sizes: list[int], length: int, stride: int, seed: int
  ) -> None:
    places = np.random.default_rng(seed).integers(0, 3, sum(sizes)).tolist()
    made = _make(length=length, stride=stride).featurize(_rows(sizes, places))
    firsts, counts = [], []
    for start, size in zip(np.cumsum([0, *sizes]).tolist(), sizes, strict=False):
      own = [first for first in range(start, start + size, stride) if first + length <= start + size]
      firsts += own
      counts.append(len(own))
    self.assertSequenceEqual(made.starts.tolist(), np.cumsum([0, *counts]).tolist())
    self.assertSequenceEqual(made.first_row.tolist(), firsts)
    self.assertSequenceEqual(made.last_row.tolist(), [first + length - 1 for first in firsts])
    self.assertSequenceEqual(made.features[..., 0].tolist(), [[*range(first, first + length)] for first in firsts])
    held = [places[first : first + length] for first in firsts]
    self.assertSequenceEqual(made.labels.tolist(), [max((0, 1, 2), key=window.count) for window in held])

  @parameterized.product(stride=(1, 2, 5), examples=(1, 2, 7))
  def test_rows_of_the_weight_needed_are_enough_and_one_less_is_not(self, stride: int, examples: int) -> None:
    featurizer = _make(stride=stride)
    needed = featurizer.weight_needed(examples)
    for rows, expected in ((needed, examples), (needed - 1, examples - 1)):
      self.assertLen(featurizer.featurize(_rows([rows], [0] * rows)).labels, expected)

  @parameterized.parameters(
    ({'length': 0}, '^Expected length >= 1, found 0.$'),
    ({'stride': 0}, '^Expected stride >= 1, found 0.$'),
    ({'numbers': ()}, '^Expected columns to make features of, found none: list numbers.$'),
    ({'numbers': ('x', 'kind')}, "found 'kind' in two"),
    ({'classes': ('a', 'a')}, "found 'a' again"),
  )
  def test_refuses_what_does_not_fit(self, options: dict[str, Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      _make(**options)


if __name__ == '__main__':
  absltest.main()
