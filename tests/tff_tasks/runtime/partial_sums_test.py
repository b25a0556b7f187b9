"""Tests that sums are added in their order, however many at a time."""

import collections
import functools
from typing import Any, NamedTuple
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tff_tasks.aggregation import gathering
from tff_tasks.runtime import accumulators
from tff_tasks.runtime import partial_sums

_UPDATE = collections.OrderedDict(weights=tff.TensorType(np.float32, (50,)), clients=tff.TensorType(np.int32))
_BYTES = 204


class _Row(NamedTuple):
  number: Any
  weights: Any


def _build_form() -> tff.backends.mapreduce.MapReduceForm:
  @tff.federated_computation(
    tff.FederatedType(np.float32, tff.SERVER), tff.FederatedType(tff.SequenceType(_UPDATE), tff.CLIENTS)
  )
  def next_round(state: Any, data: Any) -> Any:
    update = tff.federated_map(_first, data)
    rows = gathering.gather(tff.federated_map(_row, update))
    return state, tff.federated_zip((rows, tff.federated_sum(update)))

  return tff.backends.mapreduce.get_map_reduce_form_for_computation(next_round)


@tff.tensorflow.computation(tff.SequenceType(_UPDATE))
def _first(sequence: Any) -> Any:
  return sequence.get_single_element()


@tff.tensorflow.computation(_UPDATE)
def _row(update: Any) -> Any:
  return _Row(update['clients'], update['weights'])


def _build_merge() -> partial_sums.Merge:
  form = _build_form()
  return partial_sums.Merge(form, accumulators.split(form))


def _sums(count: int) -> list[list[np.ndarray]]:
  stream = np.random.default_rng(0)
  # Of sizes so different that another order gives other bits.
  return [
    [
      *(np.full(2, number, np.int32), np.full((2, 50), number / 3, np.float32)),
      *((10.0 ** stream.integers(-3, 4, 50) * stream.random(50)).astype(np.float32), np.array(number, np.int32)),
    ]
    for number in range(count)
  ]


class MergingTest(parameterized.TestCase):
  @parameterized.parameters((2**23, 10), (4 * _BYTES + 1, 4), (_BYTES, 1), (1, 1))
  def test_large_sums_do_not_wait(self, num_bytes: int, at_once: int) -> None:
    with mock.patch.object(partial_sums, '_MAX_BYTES', num_bytes):
      self.assertEqual(_build_merge().at_once, at_once)

  @parameterized.product(at_once=(1, 4, 10), count=(0, 1, 4, 10, 25))
  def test_adds_them_in_their_order(self, at_once: int, count: int) -> None:
    with mock.patch.object(partial_sums, '_MAX_SUMS', at_once):
      merge = _build_merge()
    sums = _sums(count)
    weights = functools.reduce(np.add, [part[2] for part in sums], np.zeros(50, np.float32))
    total = merge(iter(sums))
    np.testing.assert_array_equal(total[2], weights)
    self.assertEqual(total[3], sum(range(count)))
    numbers = np.repeat(np.arange(count, dtype=np.int32), 2)
    np.testing.assert_array_equal(total[0], numbers, strict=True)
    np.testing.assert_array_equal(total[1], np.tile(numbers[:, np.newaxis] / 3, 50).astype(np.float32), strict=True)


if __name__ == '__main__':
  absltest.main()
