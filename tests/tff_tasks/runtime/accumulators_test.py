"""Tests of which leaves of an accumulator have a fixed size, and which wait for what is gathered."""

from collections.abc import Callable
from typing import Any, NamedTuple

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import accumulators


class _Form(NamedTuple):
  """What is looked at of a compiled process."""

  accumulate: tff.framework.ConcreteComputation
  merge: tff.framework.ConcreteComputation


def _rows(dtype: type) -> tff.TensorType:
  return tff.TensorType(dtype, (None,))


def _append(rows: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
  return tf.concat([rows, [row]], 0)


def _merge(total: Any, other: Any) -> Any:
  """Joins rows, and adds everything else up."""
  if isinstance(total, tuple):
    return tuple(map(_merge, total, other))
  return total + other if total.shape.is_fully_defined() else tf.concat([total, other], 0)


def _split(
  total: Any, sent: Any, accumulate: Callable[[Any, Any], Any], merge: Callable[[Any, Any], Any] = _merge
) -> accumulators.Accumulators:
  parts = tff.tensorflow.computation(accumulate, (total, sent)), tff.tensorflow.computation(merge, (total, total))
  form: Any = _Form(*parts)
  return accumulators.split(form)


class SplitTest(parameterized.TestCase):
  def test_sums_have_a_fixed_size(self) -> None:
    total = (np.float32, tff.TensorType(np.float32, (3, 2)))
    found = _split(total, total, lambda total, sent: (total[0] + sent[0], total[1] + sent[1]))
    self.assertEqual(found, ([0, 1], {}, [], []))

  def test_rows_are_appended(self) -> None:
    found = _split(
      (_rows(np.int32), (np.float32, tff.TensorType(np.float32, (None, 3)), np.int32)),
      (tff.TensorType(np.float32, (3,)), np.float32, np.int32, np.int32),
      lambda total, sent: (
        _append(total[0], sent[3]),
        (total[1][0] + sent[1], _append(total[1][1], sent[0]), total[1][2] + sent[2]),
      ),
    )
    self.assertEqual(found, ([1, 3], {0: 3, 2: 0}, [], [0, 3]))

  @parameterized.named_parameters(
    ('slice', lambda row: row[tf.newaxis]),
    ('expand', lambda row: tf.expand_dims(row, 0)),
    ('stack', lambda row: tf.stack([row])),
    ('reshape', lambda row: tf.reshape(row, [1, 3])),
  )
  def test_every_way_to_make_a_row(self, make: Callable[[tf.Tensor], tf.Tensor]) -> None:
    found = _split(
      tff.TensorType(np.float32, (None, 3)),
      tff.TensorType(np.float32, (3,)),
      lambda total, sent: tf.concat([total, make(sent)], 0),
    )
    self.assertEqual(found, ([], {0: 0}, [], [0]))

  @parameterized.named_parameters(
    ('reversed', lambda row: row[::-1][tf.newaxis], _merge),
    ('changed', lambda row: -row[tf.newaxis], _merge),
    ('two_rows', lambda row: tf.stack([row, row]), _merge),
    ('a_part', lambda row: tf.tile(row[:1], [3])[tf.newaxis], _merge),
    ('merged_in_another_order', lambda row: row[tf.newaxis], lambda total, other: tf.concat([other, total], 0)),
    ('merged_in_part', lambda row: row[tf.newaxis], lambda total, other: tf.concat([total, other[1:]], 0)),
    ('merged_twice', lambda row: row[tf.newaxis], lambda total, other: tf.concat([total, other, other], 0)),
  )
  def test_other_rows_are_not_appended(
    self, make: Callable[[tf.Tensor], tf.Tensor], merge: Callable[[Any, Any], Any]
  ) -> None:
    found = _split(
      tff.TensorType(np.float32, (None, 3)),
      tff.TensorType(np.float32, (3,)),
      lambda total, sent: tf.concat([total, make(sent)], 0),
      merge,
    )
    self.assertEqual(found, ([], {}, [0], [0]))

  @parameterized.named_parameters(
    ('a_matrix_as_a_vector', (2, 3), (6,), lambda row: tf.reshape(row, [1, 6])),
    ('two_rows_of_a_vector', (4,), (2,), lambda row: tf.reshape(row, [2, 2])),
    ('columns', (3,), (1,), lambda row: tf.expand_dims(row, 1)),
  )
  def test_rows_of_another_shape_are_not_appended(
    self, sent: tuple[int, ...], row: tuple[int, ...], make: Callable[[tf.Tensor], tf.Tensor]
  ) -> None:
    found = _split(
      tff.TensorType(np.float32, (None, *row)),
      tff.TensorType(np.float32, sent),
      lambda total, sent: tf.concat([total, make(sent)], 0),
    )
    self.assertEqual(found, ([], {}, [0], [0]))

  def test_a_row_that_waits_for_a_check_is_not_appended(self) -> None:
    def append(total: tf.Tensor, sent: tf.Tensor) -> tf.Tensor:
      with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(sent > 0), [sent])]):
        return tf.concat([total, tf.identity(sent)[tf.newaxis]], 0)

    found = _split(tff.TensorType(np.float32, (None, 3)), tff.TensorType(np.float32, (3,)), append)
    self.assertEqual(found, ([], {}, [0], [0]))

  def test_rows_that_merging_looks_at_are_not_appended(self) -> None:
    found = _split(
      (_rows(np.int32), np.int32),
      (np.int32, np.int32),
      lambda total, sent: (_append(total[0], sent[0]), total[1] + sent[1]),
      lambda total, other: (tf.concat([total[0], other[0]], 0), total[1] + tf.size(other[0])),
    )
    self.assertEqual(found, ([1], {}, [0], [0]))

  def test_what_a_row_is_made_with_waits_for_it(self) -> None:
    found = _split(
      (np.int32, _rows(np.int32), np.int32),
      (np.int32, np.int32),
      lambda total, sent: (total[0] + 1, _append(total[1], total[0] * sent[0]), total[2] + sent[1]),
    )
    self.assertEqual(found, ([2], {}, [0, 1], [0]))

  def test_what_is_made_of_rows_waits_for_them(self) -> None:
    found = _split(
      (np.int32, np.int32, _rows(np.int32)),
      (np.int32, np.int32),
      lambda total, sent: (total[0] + sent[1], tf.reduce_sum(total[2]), _append(total[2], sent[0])),
    )
    self.assertEqual(found, ([0], {}, [1, 2], [0]))

  def test_what_waits_for_something_that_waits(self) -> None:
    # 0 is made of 1, which is made of 2, with which the rows are made.
    found = _split(
      (np.int32, np.int32, np.int32, _rows(np.int32), np.int32),
      (np.int32, np.int32, np.int32),
      lambda total, sent: (
        total[0] + total[1],
        total[1] + total[2] + sent[1],
        total[2] + 1,
        _append(total[3], total[2] + sent[0]),
        total[4] + sent[2],
      ),
    )
    self.assertEqual(found, ([4], {}, [0, 1, 2, 3], [0, 1]))


if __name__ == '__main__':
  absltest.main()
