"""Tests of what surrounds a factory: clip, weights, clients that are skipped, rounds of nobody, reports."""

from collections.abc import Sequence
import dataclasses
import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import drawn_updates
from tests.tff_tasks import fakes
from tff_tasks.aggregation import factory_process
from tff_tasks.aggregation import median
from tff_tasks.algorithms import fed_dyn

_CLIENTS = (1, 4, 6, 3, 0, 5)
_BROKEN = (4, 0)
_FINITE = (1, 6, 3, 5)
_MEDIAN = median.Median().build()
_WEIGHTED = tff.aggregators.MeanFactory()
_ROBUST = tff.learning.robust_aggregator()
_UPDATE_TYPE = tff.to_type((tff.TensorType(np.float32, (2,)),))


class RoundsTest(drawn_updates.RoundsTestCase):
  @parameterized.parameters(*drawn_updates.RUNTIMES)
  def test_updates_that_are_not_finite_are_dropped_and_reported(self, runtime: str, use_xla: bool | None) -> None:
    plan = dataclasses.replace(drawn_updates.PLAN, clip_norm=0.5)
    found, again = self.run_rounds(_MEDIAN, [_CLIENTS] * 2, runtime, use_xla, _BROKEN, plan)
    updates = self.updates(_FINITE)
    clipped = updates * 0.5 / np.linalg.norm(updates, axis=1, keepdims=True)
    np.testing.assert_allclose(found.update, np.median(clipped, axis=0), atol=1e-5)
    self.assertGreater(np.abs(found.update - again.update).max(), 1e-2)  # Updates are drawn anew.
    self.assertEqual([error.client for error in found.result.skipped], sorted(_BROKEN))
    report = found.result.report
    assert report is not None
    self.assertEqual(report.index.tolist(), sorted(_CLIENTS))
    self.assertEqual(report.examples.tolist(), [min(fakes.SIZES[client], 24) for client in sorted(_CLIENTS)])
    self.assertEqual(report.accepted.tolist(), [client not in _BROKEN for client in sorted(_CLIENTS)])
    norms = np.linalg.norm(self.updates(sorted(_FINITE)), axis=1)
    np.testing.assert_allclose(report.norm[report.accepted], norms, rtol=1e-5)

  @parameterized.parameters('uniform', 'examples')
  def test_weights_are_ones_or_examples(self, weighting: str) -> None:
    plan = dataclasses.replace(drawn_updates.PLAN, weighting=weighting)
    (found,) = self.run_rounds(_WEIGHTED, [_CLIENTS], broken=_BROKEN, plan=plan)
    examples = [min(fakes.SIZES[client], 24) for client in _FINITE]
    weights = examples if weighting == 'examples' else None
    np.testing.assert_allclose(found.update, np.average(self.updates(_FINITE), axis=0, weights=weights), atol=1e-5)

  @parameterized.parameters('local', 'tff')
  def test_a_round_of_nobody_changes_neither_model_nor_factory(self, runtime: str) -> None:
    # TFF's adaptive clipping divides by the number of clients, as its mean does.
    first, nobody, broken, last = self.run_rounds(_ROBUST, [(1, 6), (), (4,), (1, 6)], runtime, broken=_BROKEN)
    for empty in (nobody, broken):
      np.testing.assert_array_equal(empty.update, np.zeros(10))
      self.assertEqual(_factory_state(empty), _factory_state(first))
    self.assertNotEqual(_factory_state(last), _factory_state(first))
    self.assertEqual(last.result.state.aggregator['round'], 4)
    self.assertIn('zeroing_norm', last.result.metrics['aggregator']['factory'])

  def test_a_factory_without_weights_takes_zeros_of_who_is_not_finite(self) -> None:
    (found,) = self.run_rounds(tff.aggregators.UnweightedMeanFactory(), [_CLIENTS], broken=_BROKEN)
    np.testing.assert_allclose(found.update, self.updates(_FINITE).sum(axis=0) / len(_CLIENTS), atol=1e-5)


@dataclasses.dataclass(frozen=True)
class _Mean:
  def build(self) -> tff.aggregators.WeightedAggregationFactory:
    return _WEIGHTED


class FinalizerTest(absltest.TestCase):
  def test_an_algorithm_of_its_own_finalizer_gets_a_number_from_nobody(self) -> None:
    # TFF's mean of nobody is not a number; its own finalizer refuses that, ours do not.
    shards = algorithm_rounds.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    cohorts: Sequence[Any] = (algorithm_rounds.COHORT, np.array([], int))
    found = algorithm_rounds.Rounds(shards, aggregation=_Mean()).run(fed_dyn.FedDyn(0.1), cohorts=cohorts)
    self.assertTrue(np.isfinite(found.weights).all())


class RefusalTest(absltest.TestCase):
  def test_plans_with_noise_or_quantization(self) -> None:
    for plan in (fakes.PLAN, dataclasses.replace(fakes.PLAN, noise_multiplier=0.0)):
      with self.assertRaisesRegex(ValueError, 'Expected a plan without noise and compression'):
        factory_process.build_aggregator(_UPDATE_TYPE, plan, _WEIGHTED)


def _factory_state(round_: drawn_updates.Round) -> str:
  return repr(round_.result.state.aggregator['factory'])


if __name__ == '__main__':
  absltest.main()
