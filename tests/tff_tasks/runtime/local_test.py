from collections.abc import Callable
import contextlib
import dataclasses
import functools
import os
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from contracts import client_shards
from contracts import schema as schema_lib
from models import functional_model
from models.tasks import handwriting
from models.tasks import next_character
from pipelines.shards import shard_writing
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import compiled_once
from tests.tff_tasks import fakes
from tff_tasks import config
from tff_tasks.aggregation import round_noise
from tff_tasks.algorithms import fed_avg
from tff_tasks.algorithms import learning_process
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import client_data
from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib
from tff_tasks.runtime import block_training
from tff_tasks.runtime import local
from tff_tasks.runtime import partial_sums
from tff_tasks.runtime import runtime as runtime_lib
from tff_tasks.runtime import tff as tff_runtime
from tff_tasks.runtime import xla

_SEED, _OTHER_SEED = map(seeds.Seed.from_number, (3, 4))
_POPULATION = len(fakes.SIZES)
_PLAN = functools.partial(plan_lib.PrivacyPlan, population=_POPULATION, clients_per_round=3)
_NOISE = {'noise_multiplier': 1.0, 'delta': 1e-3}
_PLAIN = _PLAN(quantization_bits=0)
_CLIPPED = _PLAN(quantization_bits=0, clip_norm=0.05)
_QUANTIZED = _PLAN(quantization_bits=8, clip_norm=0.05)
_NOISED = _PLAN(quantization_bits=0, clip_norm=0.05, **_NOISE)
_PRIVATE = _PLAN(quantization_bits=8, clip_norm=0.05, **_NOISE)
# Each server optimizer with one of the plans: an optimizer sees a mean, however it was made.
_PAIRS = tuple(zip(config.SERVER_OPTIMIZERS, (_PLAIN, _CLIPPED, _QUANTIZED, _NOISED, _PRIVATE), strict=True))
_RECURRENT = 'yogi'  # The one that trains a recurrent model, which takes long to compile.
_BlockWork = block_training.BlockWork  # The class itself: `compiled_once` replaces its name.
# Clients of very different sizes, one without data, all, one alone, and nobody.
_COHORTS: tuple[list[int], ...] = ([0, 1, 3, 6], [4], [], list(range(_POPULATION)))


@functools.cache
def _build_process(
  optimizer: str, plan: plan_lib.PrivacyPlan, rate: float = 0.5, seed: seeds.Seed = _SEED
) -> tff.learning.templates.LearningProcess:
  model = algorithm_rounds.build_model()
  if optimizer == _RECURRENT:
    model = functional_model.FunctionalModel(functools.partial(next_character.build_model, fakes.SCHEMA, 5), 1)
  return learning_process.build_learning_process(
    fed_avg.FedAvg(),
    model,
    fakes.SCHEMA,
    local_sgd.LocalTraining(rate, 4, 2),
    learning_process.build_server_optimizer(optimizer, 0.1, 'linear', 8),
    plan,
    seed,
  ).process


def _add_noise(plan: plan_lib.PrivacyPlan, state: Any, seed: seeds.Seed = _SEED) -> Any:
  """Returns the state with the noise of the round that it stands before."""
  dimension = sum(weight.size for weight in state.global_model_weights.trainable)
  return round_noise.RoundNoise(plan, dimension, seed).add(int(state.aggregator['round']) + 1, state)


def _assert_same(ours: Any, theirs: Any, our_metrics: Any, their_metrics: Any) -> None:
  algorithm_rounds.assert_close(algorithm_rounds.flat(ours), algorithm_rounds.flat(theirs))
  tf.nest.map_structure(functools.partial(np.testing.assert_allclose, rtol=1e-4), our_metrics, their_metrics)


class _RuntimeTestCase(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    compiled_once.share(self)
    self._shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._source = client_data.ClientDataSource(self._shards, 4, 24, _SEED)
    self._everyone = self._source.cohort(1, np.arange(_POPULATION))


class LocalRuntimeTest(_RuntimeTestCase):
  def setUp(self) -> None:
    super().setUp()
    # So that a round of eight blocks merges them in several calls.
    self.enterContext(mock.patch.object(partial_sums, '_MAX_SUMS', 3))

  def _run(self, runtime: runtime_lib.Runtime, plan: plan_lib.PrivacyPlan) -> tuple[Any, list[Any]]:
    """Returns the last state and the metrics of all rounds."""
    cohorts = [self._source.cohort(number, np.array(cohort, int)) for number, cohort in enumerate(_COHORTS, start=1)]
    with contextlib.closing(runtime):
      state, metrics = runtime.initialize(), []
      for cohort, upcoming in zip(cohorts, [*cohorts[1:], None], strict=True):
        state, measured, skipped, *_ = runtime.next(_add_noise(plan, state), cohort, upcoming)
        self.assertEmpty(skipped)
        metrics.append(measured)
    return state, metrics

  @parameterized.parameters(*_PAIRS)
  def test_gives_the_numbers_of_tffs_runtime(self, optimizer: str, plan: plan_lib.PrivacyPlan) -> None:
    try:
      self._compare_with_tffs(_build_process(optimizer, plan), plan)
    except AssertionError:
      # A number within an ulp of where it is rounded up may be rounded so by one side only: seldom, and not twice.
      if not plan.quantization_bits:
        raise
      self._source = dataclasses.replace(self._source, seed=_OTHER_SEED)
      self._compare_with_tffs(_build_process(optimizer, plan, seed=_OTHER_SEED), plan)

  def _compare_with_tffs(self, process: tff.learning.templates.LearningProcess, plan: plan_lib.PrivacyPlan) -> None:
    theirs, their_metrics = self._run(tff_runtime.TffRuntime(process), plan)
    for use_xla in (False, True):
      runtime = local.LocalRuntime(process, use_xla)
      begin = algorithm_rounds.flat(runtime.initialize())
      ours, our_metrics = self._run(runtime, plan)
      _assert_same(ours, theirs, our_metrics, their_metrics)
      self.assertGreater(algorithm_rounds.distance(algorithm_rounds.flat(ours), begin), 1e-3)

  def test_blocks_of_clients_give_the_same_numbers(self) -> None:
    process = _build_process('adam', _QUANTIZED)
    # So many that neighbors of a size make blocks of three, and a rest.
    cohort = self._source.cohort(1, np.arange(4 * _POPULATION) % _POPULATION)
    with contextlib.closing(tff_runtime.TffRuntime(process)) as theirs:
      # TFF's knows clients by their index, of which there are several here.
      output = process.next(theirs.initialize(), [[cohort.load(place)] for place in range(len(cohort))])
    for use_xla in (False, True):
      with contextlib.closing(local.LocalRuntime(process, use_xla)) as ours:
        state, metrics, *_ = ours.next(ours.initialize(), cohort)
      _assert_same(state, output.state, metrics, output.metrics)

  def test_a_convolutional_model_gives_the_numbers_of_tffs_runtime(self) -> None:
    image, label = schema_lib.Feature('image', 'uint8', (11, 12)), schema_lib.Feature('label', 'int8', ())
    schema = schema_lib.Schema('handwriting', image, label, ('a', 'b'))
    stream, folder = np.random.default_rng(0), self.create_tempdir().full_path
    clients = [
      shard_writing.ClientExamples(
        *(f'{number:016d}'.encode(), 'train', stream.integers(0, 256, (size, 11, 12)).astype(np.uint8)),
        stream.integers(0, 2, size).astype(np.int8),
      )
      for number, size in enumerate((9, 3, 0, 6))
    ]
    shard_writing.write_data_set(folder, schema, [shard_writing.pack(clients)])
    process = learning_process.build_learning_process(
      fed_avg.FedAvg(),
      functional_model.FunctionalModel(functools.partial(handwriting.build_model, schema, 6), 1),
      schema,
      local_sgd.LocalTraining(0.1, 4, 2),
      learning_process.build_server_optimizer('sgd', 1.0),
      _PLAIN,
      _SEED,
    ).process
    source = client_data.ClientDataSource(client_shards.ClientShards(folder), 4, 99, _SEED)
    results = []
    for build in _runtimes(process):
      with contextlib.closing(build()) as runtime:
        before, *_ = runtime.next(runtime.initialize(), source.cohort(1, np.arange(4)))
        results.append(runtime.next(before, source.cohort(2, np.arange(4))))
    for ours in results[1:]:
      _assert_same(ours.state, results[0].state, ours.metrics, results[0].metrics)

  def test_does_not_depend_on_the_number_of_threads(self) -> None:
    process = _build_process('momentum', _CLIPPED)
    states = [self._run(local.LocalRuntime(process, False, num_threads), _CLIPPED)[0] for num_threads in (1, 2, 16)]
    for leaves in zip(*map(tf.nest.flatten, states), strict=True):
      np.testing.assert_array_equal(leaves[0], leaves[1])
      np.testing.assert_array_equal(leaves[0], leaves[2])

  def test_repeats_itself(self) -> None:
    process = _build_process('adagrad', _PRIVATE)
    first = self._run(local.LocalRuntime(process, True), _PRIVATE)[0]
    compiled_once.forget()
    again = self._run(local.LocalRuntime(process, True), _PRIVATE)[0]
    tf.nest.map_structure(np.testing.assert_array_equal, first, again)

  @parameterized.parameters(('', True, 'Clients train compiled by XLA.'), ('Conv2D', False, 'is slow for Conv2D.'))
  def test_chooses_by_the_operations_and_says_so(self, slow: str, use_xla: bool, said: str) -> None:
    process, cohort = _build_process('sgd', _PLAIN), self._source.cohort(1, np.array([0, 2]))
    with (
      mock.patch.object(xla, 'find_slow', return_value=slow),
      contextlib.closing(local.LocalRuntime(process)) as runtime,
    ):
      self.assertEqual((runtime.use_xla, runtime.settled), (use_xla, {}))
      self.assertEndsWith(runtime.choice, said)
      state, *_ = runtime.next(runtime.initialize(), cohort)
      self.assertEqual(runtime.settled, {local.USE_XLA: use_xla})
    with contextlib.closing(local.LocalRuntime(process, use_xla)) as fixed:
      expected, *_ = fixed.next(fixed.initialize(), cohort)
      self.assertEqual(fixed.choice, '')
    tf.nest.map_structure(np.testing.assert_array_equal, state, expected)

  def test_what_xla_cannot_compile_trains_without(self) -> None:
    original = _BlockWork.__call__

    def call(work: block_training.BlockWork, *arguments: Any) -> list[np.ndarray]:
      if work.use_xla:
        raise tf.errors.InvalidArgumentError(None, None, 'Detected unsupported operations')
      return original(work, *arguments)

    process, cohort = _build_process('sgd', _PLAIN), self._source.cohort(1, np.array([0, 2]))
    self.enterContext(mock.patch.object(_BlockWork, '__call__', call))
    with contextlib.closing(local.LocalRuntime(process)) as runtime:
      _, metrics, *_ = runtime.next(runtime.initialize(), cohort)
      self.assertEqual(len(metrics['aggregator'].index), 2)
      self.assertEqual((runtime.use_xla, runtime.choice), (False, local.CANNOT_COMPILE))

  @parameterized.parameters(True, False)
  def test_prepares_what_the_round_then_uses(self, use_xla: bool) -> None:
    process, cohort = _build_process('momentum', _CLIPPED), self._source.cohort(1, np.array([0, 2, 4]))
    with contextlib.closing(local.LocalRuntime(process, use_xla)) as runtime:
      initial = runtime.initialize()
      runtime.prepare(initial, nobody := self._source.cohort(1, np.array([], int)))
      runtime.next(initial, nobody)
      self.assertEqual(runtime.settled, {local.USE_XLA: use_xla})
      runtime.prepare(initial, cohort)
      with mock.patch.object(block_training, 'BlockWork', side_effect=AssertionError('built twice')):
        found = runtime.next(initial, cohort)
        runtime.prepare(initial, cohort)
    with contextlib.closing(local.LocalRuntime(process, use_xla)) as unprepared:
      expected = unprepared.next(unprepared.initialize(), cohort)
    _assert_same(found.state, expected.state, found.metrics, expected.metrics)

  def test_a_state_does_not_keep_those_before_it(self) -> None:
    with contextlib.closing(local.LocalRuntime(_build_process('adagrad', _PRIVATE), False)) as runtime:
      before, *_ = runtime.next(_add_noise(_PRIVATE, runtime.initialize()), self._everyone)
      after, *_ = runtime.next(_add_noise(_PRIVATE, before), self._everyone)
    self.assertFalse(any(tf.nest.flatten(tf.nest.map_structure(np.shares_memory, before, after))))


class BadClientsTest(_RuntimeTestCase):
  @parameterized.parameters(_PLAIN, _QUANTIZED)
  def test_a_client_without_finite_numbers_leaves_the_others(self, plan: plan_lib.PrivacyPlan) -> None:
    diverging = _build_process('sgd', plan, rate=1e38)
    results = []
    for build in _runtimes(diverging):
      with contextlib.closing(build()) as runtime:
        results.append(runtime.next(runtime.initialize(), self._everyone))
    for state, metrics, skipped, report, _ in results:
      assert report is not None
      clients = {error.client for error in skipped}
      self.assertContainsSubset(clients, {client for client, size in enumerate(fakes.SIZES) if size})
      self.assertContainsSubset({client for client, size in enumerate(fakes.SIZES) if size > 4}, clients)
      self.assertLen(skipped, np.count_nonzero(~report.accepted))
      self.assertEqual({error.reason for error in skipped}, {runtime_lib.NOT_FINITE})
      self.assertTrue(all(np.isfinite(leaf).all() for leaf in tf.nest.flatten((state, metrics))))
    for result in results[1:]:
      self.assertCountEqual(result.skipped, results[0].skipped)

  def test_damaged_clients_are_skipped(self) -> None:
    process = _build_process('momentum', _CLIPPED)
    for client in (4, 6):
      fakes.damage(self._shards, client)
    rest = self._source.cohort(1, np.array([0, 1, 2, 3, 5, 7]))
    for build in _runtimes(process):
      with contextlib.closing(build()) as runtime:
        initial = runtime.initialize()
        result = runtime.next(initial, self._everyone)
        expected = runtime.next(initial, rest)
      self.assertEqual([error.client for error in result.skipped], [4, 6])
      self.assertRegex(result.skipped[0].reason, '^Expected the .* found other content')
      _assert_same(result.state, expected.state, result.metrics, expected.metrics)

  def test_only_damaged_clients(self) -> None:
    fakes.damage(self._shards, 4)
    for use_xla in (False, None):
      with contextlib.closing(local.LocalRuntime(_build_process('momentum', _CLIPPED), use_xla)) as runtime:
        result = runtime.next(runtime.initialize(), self._source.cohort(1, np.array([4])))
      self.assertEqual([error.client for error in result.skipped], [4])
      self.assertEqual(len(result.metrics['aggregator'].index), 0)

  @parameterized.parameters(ValueError, MemoryError, SystemExit)
  def test_an_error_while_training_or_reading_ends_the_round(self, kind: type[BaseException]) -> None:
    for where in ((_BlockWork, '__call__'), (client_data.Cohort, 'load_block')):
      with (
        contextlib.closing(local.LocalRuntime(_build_process('sgd', _PLAIN), False)) as runtime,
        mock.patch.object(*where, side_effect=kind('on purpose')),
        self.assertRaisesRegex(kind, 'on purpose'),
      ):
        runtime.next(runtime.initialize(), self._everyone)


def _runtimes(process: tff.learning.templates.LearningProcess) -> list[Callable[[], runtime_lib.Runtime]]:
  """Returns what builds TFF's runtime and ours, without XLA and with it."""
  ours = [functools.partial(local.LocalRuntime, process, use_xla) for use_xla in (False, True)]
  return [lambda: tff_runtime.TffRuntime(process), *ours]


if __name__ == '__main__':
  absltest.main()
