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

  Its state is the largest of the numbers, and what is added to all of them: one process is compiled for all numbers.

  Attributes:
    form: A key of `_SUMS`.
    is_wide: Whether they are int64 instead of int32.
  """

  form: str
  is_wide: bool = False

  def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
    @tff.tensorflow.computation
    def begin() -> Any:
      return tf.constant(0.0), tf.constant(0, tf.int64)

    state_type = begin.type_signature.result

    @tff.tensorflow.computation(value_type, state_type)
    def make_integers(update: Any, numbers: Any) -> Any:
      scale, lift = numbers
      kind = tf.int64 if self.is_wide else tf.int32
      large = tf.cast(tf.abs(update[0]) * scale, kind) + tf.cast(lift, kind)
      return collections.OrderedDict(large=large, small=large[0, 0] % 7)

    @tff.tensorflow.computation
    def no_update() -> Any:
      return tuple(tf.zeros(one.shape) for one in value_type)

    @tff.federated_computation
    def initialize() -> Any:
      return tff.federated_eval(begin, tff.SERVER)

    @tff.federated_computation(initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS))
    def next_round(state: Any, update: Any) -> Any:
      integers = tff.federated_map(make_integers, (update, tff.federated_broadcast(state)))
      sums = _SUMS[self.form](integers)
      return tff.templates.MeasuredProcessOutput(state, tff.federated_eval(no_update, tff.SERVER), sums)

    return tff.templates.AggregationProcess(initialize, next_round)


class SecureSumsTest(drawn_updates.RoundsTestCase):
  @parameterized.parameters(*drawn_updates.RUNTIMES)
  def test_remainders_are_exact_where_the_sum_leaves_the_type(self, runtime: str, use_xla: bool | None) -> None:
    for form, small in (('modular', _MODULUS), ('modular_by_leaf', 7)):
      self._assert_sums(form, 2.0**31 - 256, runtime, use_xla, _MODULUS, small)

  @parameterized.product(form=('max_input', 'bits'), runtime=drawn_updates.RUNTIMES)
  def test_sums(self, form: str, runtime: tuple[str, bool | None]) -> None:
    self._assert_sums(form, 2.0**28, *runtime, 2**62, 2**62)

  def _run(
    self,
    factory: _Integers,
    scale: float,
    lift: int,
    runtime: tuple[str, bool | None] = ('local', False),
    clients: int = 5,
  ) -> drawn_updates.Round:
    numbers = np.float32(scale), np.int64(lift)
    (found,) = self.run_rounds(factory, [_CLIENTS[:clients]], *runtime, state_of_factory=numbers)
    return found

  def _assert_sums(
    self, form: str, scale: float, runtime: str, use_xla: bool | None, modulus: int, small_modulus: int
  ) -> None:
    found = self._run(_Integers(form), scale, 0, (runtime, use_xla))
    sums = found.result.metrics['aggregator']['factory']
    numbers = (np.abs(self.updates(_CLIENTS)[:, :6]) * np.float32(scale)).astype(np.int64)
    self.assertGreater(numbers.sum(axis=0).max(), 2**29)
    np.testing.assert_array_equal(np.ravel(sums['large']), numbers.sum(axis=0) % modulus)
    self.assertEqual(sums['small'], (numbers[:, 0] % 7).sum() % small_modulus)
    self.assertEqual(sums['large'].dtype, np.int32)

  @parameterized.product(form=('max_input', 'bits'), lift=(-1, 2**30), runtime=drawn_updates.RUNTIMES)
  def test_inputs_that_do_not_fit_end_the_round(self, form: str, lift: int, runtime: tuple[str, bool | None]) -> None:
    with self.assertRaisesRegex(Exception, 'Expected integers within the limits of a secure sum'):
      self._run(_Integers(form), 0.0, lift, runtime)

  @parameterized.parameters(*drawn_updates.RUNTIMES)
  def test_a_modular_sum_takes_remainders_of_its_inputs(self, runtime: str, use_xla: bool | None) -> None:
    found = self._run(_Integers('modular_by_leaf'), 0.0, -1, (runtime, use_xla))
    sums = found.result.metrics['aggregator']['factory']
    np.testing.assert_array_equal(sums['large'], np.full((3, 2), 5 * (_MODULUS - 1) % _MODULUS))

  @parameterized.parameters(
    ('largest_modulus', 5, 2**62, 5 * 2**62 % _LARGEST),
    ('largest_max_input', 1, _LARGEST, _LARGEST),
    ('most_bits', 5, _LARGEST // 5, _LARGEST // 5 * 5),
  )
  def test_sums_close_to_64_bits(self, form: str, clients: int, lift: int, expected: int) -> None:
    found = self._run(_Integers(form, is_wide=True), 0.0, lift, clients=clients)
    sums = found.result.metrics['aggregator']['factory']
    np.testing.assert_array_equal(sums['large'], np.full((3, 2), expected))

  @parameterized.parameters(('bits', 2**29, False), ('largest_max_input', 2**62, True))
  def test_sums_that_do_not_fit_their_type_end_the_round(self, form: str, lift: int, is_wide: bool) -> None:
    with self.assertRaisesRegex(Exception, 'sums that fit their type, found so many others'):
      self._run(_Integers(form, is_wide), 0.0, lift)

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
