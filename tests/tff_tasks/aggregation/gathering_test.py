"""Tests that each client's row arrives once, on every runtime, and that a median can be made of rows."""

import contextlib
import functools
import os
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import compiled_once
from tests.tff_tasks import drawn_updates
from tests.tff_tasks import fakes
from tff_tasks.aggregation import gathering
from tff_tasks.aggregation import tagging
from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import composition
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import learning_process
from tff_tasks.population import client_data
from tff_tasks.population import client_report
from tff_tasks.runtime import registry
from tff_tasks.runtime import runtime as runtime_lib

_RUNTIMES = (('tff', None), ('local', False), ('local', True))


def _build_median(update_type: tff.StructType) -> tff.templates.AggregationProcess:
  """Returns the coordinate-wise median, whose measurements have the updates as what clients keep."""
  shapes = [tuple(one.shape) for one in update_type]
  sizes = [int(np.prod(shape)) for shape in shapes]

  @tff.tensorflow.computation(update_type, np.float32, tagging.TAG_TYPE)
  def make_rows(update: Any, weight: tf.Tensor, tag: Any) -> Any:
    vector = tf.concat([tf.reshape(part, [-1]) for part in update], 0)
    report = client_report.ClientReport(tag.index, tag.examples, tf.constant(True), weight)
    return client_report.ClientMemory(tag.index, vector), report

  memory_type = make_rows.type_signature.result[0]
  rows_type = tff.to_type(
    client_report.ClientMemory(*(tff.TensorType(one.dtype, (None, *one.shape)) for one in memory_type))
  )

  @tff.tensorflow.computation(rows_type)
  def find_median(rows: Any) -> Any:
    # A row of zeros, so that there is something to take if nobody came.
    ordered, count = tf.pad(tf.sort(rows.values, 0), [[0, 1], [0, 0]]), tf.maximum(tf.shape(rows.values)[0], 1)
    middle = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return tuple(tf.reshape(part, shape) for part, shape in zip(tf.split(middle, sizes), shapes, strict=True))

  @tff.federated_computation
  def initialize() -> Any:
    return tff.federated_value((), tff.SERVER)

  @tff.federated_computation(
    initialize.type_signature.result,
    *(tff.FederatedType(one, tff.CLIENTS) for one in (update_type, np.float32, tagging.TAG_TYPE)),
  )
  def next_round(state: Any, update: Any, weight: Any, tag: Any) -> Any:
    memory, report = tff.federated_map(make_rows, (update, weight, tag))
    rows = gathering.gather(memory)
    measured = tff.federated_zip((gathering.gather(report), rows))
    return tff.templates.MeasuredProcessOutput(state, tff.federated_map(find_median, rows), measured)

  return tff.templates.AggregationProcess(initialize, next_round)


class GatherTest(parameterized.TestCase):
  """Rows of updates that are drawn."""

  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    # So many that blocks have two clients, and the last one has one.
    self._sizes = (1, 3, 2, 0, 5) * 5
    self._shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'), self._sizes)
    self._source = client_data.ClientDataSource(self._shards, 4, 24, algorithm_rounds.SEED)

  @parameterized.product(
    clients=([7, 2, 21, 4], [24, 3, 0], [3], [], list(range(25))), damaged=((), (4, 24)), runtime=_RUNTIMES
  )
  def test_each_client_has_its_row(
    self, clients: list[int], damaged: tuple[int, ...], runtime: tuple[str, bool | None]
  ) -> None:
    cohort = drawn_updates.cohort(self._source, clients)
    expected = {client: drawn_updates.draw(cohort.load(place)) for place, client in enumerate(clients)}
    for client in damaged:
      fakes.damage(self._shards, client)
    with contextlib.closing(registry.build_runtime(runtime[0], _build_drawn(), runtime[1])) as ran:
      result = ran.next(ran.initialize(), cohort)
    assert result.report is not None
    assert result.memory is not None
    there = sorted(set(clients) - set(damaged))
    self.assertEqual([error.client for error in result.skipped], [client for client in clients if client in damaged])
    rows = list(zip(*map(np.ndarray.tolist, result.report), strict=True))
    self.assertEqual(rows, [(client, self._sizes[client], True, self._sizes[client]) for client in there])
    self.assertEqual(result.memory.index.tolist(), there)
    self.assertEqual(result.memory.values.shape, (len(there), 10))
    for row, client in zip(result.memory.values, there, strict=True):
      np.testing.assert_allclose(row, algorithm_rounds.join(expected[client]), rtol=1e-5)


class MedianTest(absltest.TestCase):
  """The median of what clients train."""

  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    path = os.path.join(self.create_tempdir().full_path, 'shards')
    self._shards = algorithm_rounds.write_shards(path)

  def _run(self, cohorts: list[tuple[int, ...]], runtime: str, use_xla: bool | None) -> list[runtime_lib.RoundResult]:
    """Returns what a round gives for each cohort, each begun with what the one before has led to."""
    source = client_data.ClientDataSource(self._shards, 4, 24, algorithm_rounds.SEED)
    results: list[runtime_lib.RoundResult] = []
    with contextlib.closing(registry.build_runtime(runtime, _build_trained(), use_xla)) as ran:
      state = ran.initialize()
      for number, clients in enumerate(cohorts, start=1):
        results.append(ran.next(state, source.cohort(number, np.array(clients))))
        state = results[-1].state
    return results

  def test_equals_numpys_on_each_runtime(self) -> None:
    cohorts = [(1, 4, 6), (0, 2, 4, 7)]
    found = [self._run(cohorts, *runtime) for runtime in _RUNTIMES]
    for results in found:
      weights = algorithm_rounds.begin()
      for result, expected, clients in zip(results, found[0], cohorts, strict=True):
        assert result.memory is not None
        self.assertEqual(tuple(result.memory.index), clients)
        median = np.median(result.memory.values, axis=0)
        self.assertGreater(np.linalg.norm(median - result.memory.values.mean(axis=0)), 1e-2)
        weights = weights - median
        algorithm_rounds.assert_close(algorithm_rounds.flat(result.state), weights)
        algorithm_rounds.assert_close(weights, algorithm_rounds.flat(expected.state))

  def test_the_rows_are_the_updates(self) -> None:
    (together,) = self._run([(1, 4, 6)], 'local', False)
    assert together.memory is not None
    for row, client in zip(together.memory.values, (1, 4, 6), strict=True):
      (alone,) = self._run([(client,)], 'local', False)
      algorithm_rounds.assert_close(algorithm_rounds.begin() - algorithm_rounds.flat(alone.state), row)


@functools.cache
def _build_drawn() -> tff.learning.templates.LearningProcess:
  return drawn_updates.build_process(_build_median)


@functools.cache
def _build_trained() -> tff.learning.templates.LearningProcess:
  """Returns rounds of FedAvg with the median instead of the mean."""
  model = algorithm_rounds.build_model()

  @tff.tensorflow.computation
  def initial_weights() -> Any:
    return tff.learning.models.ModelWeights(tuple(map(tf.constant, model.initial_weights)), ())

  weights_type, optimizer = initial_weights.type_signature.result, learning_process.build_server_optimizer('sgd', 1.0)
  context = base.Context(model, weights_type, fakes.SCHEMA, algorithm_rounds.TRAINING, optimizer, 8, 3)
  parts = client_work.build_parts(context, fed_avg.FedAvg())
  return composition.compose(initial_weights, parts, _build_median(weights_type.trainable))


if __name__ == '__main__':
  absltest.main()
