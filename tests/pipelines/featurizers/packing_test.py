"""Tests of cutting streams of codes into windows, by hand and against a slow and plain version."""

import itertools

from absl.testing import absltest
import hypothesis
from hypothesis import strategies
import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import packing

_IGNORED, _UNKNOWN = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL
_ROWS = strategies.lists(strategies.integers(1, 5), max_size=5)
_CLIENTS = strategies.lists(strategies.lists(_ROWS, max_size=4), max_size=5)


def _pack(clients: list[list[list[int]]], window_length: int) -> base.Examples:
  rows = [row for client in clients for row in client]
  return packing.pack_windows(
    codes=np.array([code for row in rows for code in row], np.uint8),
    row_starts=np.cumsum([0, *map(len, rows)]),
    client_starts=np.cumsum([0, *map(len, clients)]),
    window_length=window_length,
    label_dtype='int8',
  )


def _pack_plainly(clients: list[list[list[int]]], length: int) -> list[list[tuple]]:
  """Returns features, labels, first and last row and the unknown codes of each example of each client."""
  packed: list[list[tuple]] = []
  row_number = 0
  for client in clients:
    stream = [(code, row_number + place) for place, row in enumerate(client) for code in row]
    row_number += len(client)
    packed.append([])
    for begin in range(0, len(stream) - 1, length):
      part = stream[begin : begin + length + 1]
      codes, filler = [code for code, _ in part], length + 1 - len(part)
      answers = [_UNKNOWN if code == 1 else code for code in codes[1:]]
      features, labels = codes[:-1] + [0] * filler, answers + [_IGNORED] * filler
      packed[-1].append((features, labels, part[0][1], part[-1][1], features.count(1)))
  return packed


def _listed(array: np.ndarray | None) -> list:
  return [] if array is None else array.tolist()


class PackWindowsTest(absltest.TestCase):
  def test_by_hand(self) -> None:
    made = _pack([[[2, 3], [4, 1, 5]], [[2]], [], [[3, 4]]], 3)
    self.assertEqual(made.features.tolist(), [[2, 3, 4], [1, 0, 0], [3, 0, 0]])
    self.assertEqual(made.labels.tolist(), [[3, 4, _UNKNOWN], [5, _IGNORED, _IGNORED], [4, _IGNORED, _IGNORED]])
    self.assertEqual(made.starts.tolist(), [0, 2, 2, 2, 3])
    self.assertEqual((made.first_row.tolist(), made.last_row.tolist()), ([0, 1, 3], [1, 1, 3]))
    self.assertEqual(_listed(made.unknown), [0, 1, 0])
    self.assertEqual((made.features.dtype, made.labels.dtype), (np.uint8, np.int8))

  def test_special_classes_stand_where_their_codes_say(self) -> None:
    self.assertEqual(packing.SPECIAL[packing.PAD_CODE], packing.PAD)
    self.assertEqual(packing.SPECIAL[packing.UNKNOWN_CODE], packing.UNKNOWN)

  @hypothesis.settings(max_examples=200, deadline=None)
  @hypothesis.given(_CLIENTS, strategies.integers(1, 4))
  def test_as_a_plain_loop_does(self, clients: list[list[list[int]]], window_length: int) -> None:
    made = _pack(clients, window_length)
    arrays = (made.features, made.labels, made.first_row, made.last_row, made.unknown)
    examples = list(zip(*map(_listed, arrays), strict=True))
    split = [examples[start:stop] for start, stop in itertools.pairwise(made.starts)]
    self.assertEqual(split, _pack_plainly(clients, window_length))

  def test_every_code_but_the_first_of_a_client_is_a_label_once(self) -> None:
    rng = np.random.default_rng(0)
    clients = [[rng.integers(1, 100, rng.integers(0, 9)).tolist() for _ in range(5)] for _ in range(20)]
    made = _pack(clients, 7)
    streams = [[code for row in client for code in row] for client in clients]
    expected = [_UNKNOWN if code == 1 else code for stream in streams for code in stream[1:]]
    self.assertEqual(made.labels[made.labels != _IGNORED].tolist(), expected)


if __name__ == '__main__':
  absltest.main()
