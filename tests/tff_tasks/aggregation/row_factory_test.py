"""Tests that rows are combined by a factory that stands alone, or is a part of a stock one."""

from collections.abc import Callable

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import drawn_updates
from tff_tasks.aggregation import row_factory

_CLIENTS = (1, 4, 6, 7)


def _sum(rows: tf.Tensor) -> tf.Tensor:
  # Fails for nobody, as a median does.
  return tf.reduce_sum(rows, 0) + 0 * rows[0]


def _largest(rows: tf.Tensor) -> tf.Tensor:
  return tf.reduce_max(rows)


def _signs(rows: tf.Tensor) -> tf.Tensor:
  return tf.cast(tf.sign(rows[0]), tf.int32)


class RowFactoryTest(drawn_updates.RoundsTestCase):
  def test_types(self) -> None:
    value_type = tff.to_type((tff.TensorType(np.float32, (2, 3)), tff.TensorType(np.float32)))
    process = row_factory.RowFactory(_sum).create(value_type, tff.TensorType(np.float32))
    self.assertEqual(process.next.type_signature.result.result, tff.FederatedType(value_type, tff.SERVER))

  @parameterized.parameters(
    (_largest, r'Expected _largest to return float32 \[7\], found float32 \(\): one number for each column'),
    (_signs, r'Expected _signs to return float32 \[7\], found int32 \(7,\)'),
  )
  def test_results_of_another_type_are_refused(self, combine: Callable[[tf.Tensor], tf.Tensor], message: str) -> None:
    value_type = tff.to_type((tff.TensorType(np.float32, (2, 3)), tff.TensorType(np.float32)))
    with self.assertRaisesRegex(ValueError, message):
      row_factory.RowFactory(combine).create(value_type, tff.TensorType(np.float32))

  @parameterized.parameters(*drawn_updates.RUNTIMES)
  def test_rows_without_weight_are_dropped(self, runtime: str, use_xla: bool | None) -> None:
    factory = row_factory.RowFactory(lambda rows: _sum(rows) + tf.cast(tf.shape(rows)[0], tf.float32))
    found, nobody, broken = self.run_rounds(factory, [_CLIENTS, (), (4,)], runtime, use_xla, broken=(4,))
    # Each of the three rows adds one to each number; one of zeros would add one as well.
    np.testing.assert_allclose(found.update, self.updates((1, 6, 7)).sum(axis=0) + 3, atol=1e-5)
    for empty in (nobody, broken):
      np.testing.assert_array_equal(empty.update, np.zeros(10))

  def test_a_stock_factory_takes_it_as_a_part(self) -> None:
    factory = tff.aggregators.clipping_factory(0.5, row_factory.RowFactory(_sum))
    updates = self.updates(_CLIENTS)
    clipped = updates * 0.5 / np.linalg.norm(updates, axis=1, keepdims=True)
    for runtime in ('local', 'tff'):
      (found,) = self.run_rounds(factory, [_CLIENTS], runtime)
      np.testing.assert_allclose(found.update, clipped.sum(axis=0), atol=1e-5)


if __name__ == '__main__':
  absltest.main()
