"""Tests of secure sums that are plain ones: their results on every runtime, and inputs that do not fit."""

import collections
from collections.abc import Callable
import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow_federated.python.core.backends.mapreduce import intrinsics

from tests.tff_tasks import drawn_updates
from tff_tasks.runtime import secure_sums

_CLIENTS = (1, 4, 6, 3, 5)
# Close to the largest int32: the sum of two clients leaves the type.
_MODULUS = 2**31 - 1
_LARGEST = 2**63 - 1
_SUMS: dict[str, Callable[[Any], Any]] = {
  'modular': lambda values: intrinsics.federated_secure_modular_sum(values, _MODULUS),
  'modular_by_leaf': lambda values: intrinsics.federated_secure_modular_sum(
    values, collections.OrderedDict(large=_MODULUS, small=7)
  ),
  'max_input': lambda values: tff.federated_secure_sum(values, 2**30 - 1),
  'bits': lambda values: tff.federated_secure_sum_bitwidth(values, 30),
  'largest_modulus': lambda values: intrinsics.federated_secure_modular_sum(values, _LARGEST),
  'largest_max_input': lambda values: tff.federated_secure_sum(values, _LARGEST),
  'most_bits': lambda values: tff.federated_secure_sum_bitwidth(values, 63),
}


@dataclasses.dataclass(frozen=True)
class _Integers(tff.aggregators.UnweightedAggregationFactory):
  """Sums whole numbers, and puts both sums into the measurements; the update is zero.

  Attributes:
    form: A key of `_SUMS`.
    scale: The largest of the numbers.
    lift: What is added to all of them.
    is_wide: Whether they are int64 instead of int32.
  """

  form: str
  scale: float
  lift: int = 0
  is_wide: bool = False

  def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
    @tff.tensorflow.computation(value_type)
    def make_integers(update: Any) -> Any:
      large = tf.cast(tf.abs(update[0]) * self.scale, tf.int64 if self.is_wide else tf.int32) + self.lift
      return collections.OrderedDict(large=large, small=large[0, 0] % 7)

    @tff.tensorflow.computation
    def no_update() -> Any:
      return tuple(tf.zeros(one.shape) for one in value_type)

    @tff.federated_computation
    def initialize() -> Any:
      return tff.federated_value((), tff.SERVER)

    @tff.federated_computation(initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS))
    def next_round(state: Any, update: Any) -> Any:
      sums = _SUMS[self.form](tff.federated_map(make_integers, update))
      return tff.templates.MeasuredProcessOutput(state, tff.federated_eval(no_update, tff.SERVER), sums)

    return tff.templates.AggregationProcess(initialize, next_round)


class SecureSumsTest(drawn_updates.RoundsTestCase):
  @parameterized.parameters(*drawn_updates.RUNTIMES)
  def test_remainders_are_exact_where_the_sum_leaves_the_type(self, runtime: str, use_xla: bool | None) -> None:
    for form, small in (('modular', _MODULUS), ('modular_by_leaf', 7)):
      self._assert_sums(_Integers(form, 2.0**31 - 256), runtime, use_xla, _MODULUS, small)

  @parameterized.product(form=('max_input', 'bits'), runtime=drawn_updates.RUNTIMES)
  def test_sums(self, form: str, runtime: tuple[str, bool | None]) -> None:
    self._assert_sums(_Integers(form, 2.0**28), *runtime, 2**62, 2**62)

  def _assert_sums(
    self, factory: _Integers, runtime: str, use_xla: bool | None, modulus: int, small_modulus: int
  ) -> None:
    (found,) = self.run_rounds(factory, [_CLIENTS], runtime, use_xla)
    sums = found.result.metrics['aggregator']['factory']
    numbers = (np.abs(self.updates(_CLIENTS)[:, :6]) * np.float32(factory.scale)).astype(np.int64)
    self.assertGreater(numbers.sum(axis=0).max(), 2**29)
    np.testing.assert_array_equal(np.ravel(sums['large']), numbers.sum(axis=0) % modulus)
    self.assertEqual(sums['small'], (numbers[:, 0] % 7).sum() % small_modulus)
    self.assertEqual(sums['large'].dtype, np.int32)

  @parameterized.product(form=('max_input', 'bits'), lift=(-1, 2**30), runtime=drawn_updates.RUNTIMES)
  def test_inputs_that_do_not_fit_end_the_round(self, form: str, lift: int, runtime: tuple[str, bool | None]) -> None:
    factory = _Integers(form, 0.0, lift)
    with self.assertRaisesRegex(Exception, 'Expected integers within the limits of a secure sum'):
      self.run_rounds(factory, [_CLIENTS], *runtime)

  @parameterized.parameters(*drawn_updates.RUNTIMES)
  def test_a_modular_sum_takes_remainders_of_its_inputs(self, runtime: str, use_xla: bool | None) -> None:
    (found,) = self.run_rounds(_Integers('modular_by_leaf', 0.0, -1), [_CLIENTS], runtime, use_xla)
    sums = found.result.metrics['aggregator']['factory']
    np.testing.assert_array_equal(sums['large'], np.full((3, 2), 5 * (_MODULUS - 1) % _MODULUS))

  @parameterized.parameters(
    ('largest_modulus', 5, 2**62, 5 * 2**62 % _LARGEST),
    ('largest_max_input', 1, _LARGEST, _LARGEST),
    ('most_bits', 5, _LARGEST // 5, _LARGEST // 5 * 5),
  )
  def test_sums_close_to_64_bits(self, form: str, clients: int, lift: int, expected: int) -> None:
    (found,) = self.run_rounds(_Integers(form, 0.0, lift, is_wide=True), [_CLIENTS[:clients]])
    sums = found.result.metrics['aggregator']['factory']
    np.testing.assert_array_equal(sums['large'], np.full((3, 2), expected))

  @parameterized.parameters(('bits', 2**29, False), ('largest_max_input', 2**62, True))
  def test_sums_that_do_not_fit_their_type_end_the_round(self, form: str, lift: int, is_wide: bool) -> None:
    with self.assertRaisesRegex(Exception, 'sums that fit their type, found so many others'):
      self.run_rounds(_Integers(form, 0.0, lift, is_wide), [_CLIENTS])

  @parameterized.parameters(*drawn_updates.RUNTIMES[:2])
  def test_aggregator_of_tff(self, runtime: str, use_xla: bool | None) -> None:
    secure = tff.aggregators.MeanFactory(tff.aggregators.SecureSumFactory(1.0, -1.0))
    (found,) = self.run_rounds(secure, [_CLIENTS], runtime, use_xla)
    np.testing.assert_allclose(found.update, self.updates(_CLIENTS).mean(axis=0), atol=1e-5)

  def test_what_has_none_is_the_same_object(self) -> None:
    computation = tff.federated_computation(tff.federated_sum, tff.FederatedType(np.int32, tff.CLIENTS))
    self.assertIs(secure_sums.make_plain(computation), computation)


if __name__ == '__main__':
  absltest.main()
