"""Tests that sums are added in their order, however many at a time."""

import collections
import functools
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tff_tasks.runtime import partial_sums

_UPDATE = collections.OrderedDict(weights=tff.TensorType(np.float32, (50,)), clients=tff.TensorType(np.int32))
_BYTES = 204


def _build_form() -> tff.backends.mapreduce.MapReduceForm:
  @tff.federated_computation(
    tff.FederatedType(np.float32, tff.SERVER), tff.FederatedType(tff.SequenceType(_UPDATE), tff.CLIENTS)
  )
  def next_round(state: Any, data: Any) -> Any:
    return state, tff.federated_sum(tff.federated_map(_first, data))

  return tff.backends.mapreduce.get_map_reduce_form_for_computation(next_round)


@tff.tensorflow.computation(tff.SequenceType(_UPDATE))
def _first(sequence: Any) -> Any:
  return sequence.get_single_element()


def _sums(count: int) -> list[list[np.ndarray]]:
  stream = np.random.default_rng(0)
  # Of sizes so different that another order gives other bits.
  return [
    [(10.0 ** stream.integers(-3, 4, 50) * stream.random(50)).astype(np.float32), np.array(number, np.int32)]
    for number in range(count)
  ]


class MergingTest(parameterized.TestCase):
  @parameterized.parameters((2**23, 10), (4 * _BYTES + 1, 4), (_BYTES, 1), (1, 1))
  def test_large_sums_do_not_wait(self, num_bytes: int, at_once: int) -> None:
    with mock.patch.object(partial_sums, '_MAX_BYTES', num_bytes):
      self.assertEqual(partial_sums.Merge(_build_form()).at_once, at_once)

  @parameterized.product(at_once=(1, 4, 10), count=(0, 1, 4, 10, 25))
  def test_adds_them_in_their_order(self, at_once: int, count: int) -> None:
    with mock.patch.object(partial_sums, '_MAX_SUMS', at_once):
      merge = partial_sums.Merge(_build_form())
    sums = _sums(count)
    weights = functools.reduce(np.add, [part[0] for part in sums], np.zeros(50, np.float32))
    total = merge(iter(sums))
    np.testing.assert_array_equal(total[0], weights)
    self.assertEqual(total[1], sum(range(count)))


if __name__ == '__main__':
  absltest.main()
