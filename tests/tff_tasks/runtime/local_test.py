import contextlib
import functools
import os
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from models import next_character
from tests.tff_tasks import fakes
from tff_tasks import algorithms
from tff_tasks import client_data
from tff_tasks import privacy
from tff_tasks import seeds
from tff_tasks.runtime import local
from tff_tasks.runtime import tff as tff_runtime

_SEED = seeds.Seed.from_number(3)
_POPULATION = len(fakes.SIZES)
_PLAIN = privacy.PrivacyPlan(population=_POPULATION, clients_per_round=3, quantization_bits=0)
_CLIPPED = privacy.PrivacyPlan(population=_POPULATION, clients_per_round=3, quantization_bits=0, clip_norm=0.05)
_QUANTIZED = privacy.PrivacyPlan(population=_POPULATION, clients_per_round=3, quantization_bits=8, clip_norm=0.05)
_PRIVATE = privacy.PrivacyPlan(
    population=_POPULATION, clients_per_round=3, quantization_bits=8, clip_norm=0.05, noise_multiplier=1.0, delta=1e-3
)
# Clients of very different sizes, one without data, all, one alone, and nobody.
_COHORTS: tuple[list[int], ...] = ([0, 1, 3, 6], [4], [], list(range(_POPULATION)))


def _build_process(optimizer: str, plan: privacy.PrivacyPlan) -> tff.learning.templates.LearningProcess:
  return algorithms.build_learning_process(
      functools.partial(next_character.build_model, fakes.SCHEMA, 5), fakes.SCHEMA, 4, 0.5,
      algorithms.build_server_optimizer(optimizer, 0.1, 'linear', 8), plan, _SEED,
  )  # fmt: skip


class LocalRuntimeTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    self._source = client_data.ClientDataSource(shards, batch_size=4, epochs=2, max_examples=24, seed=_SEED)

  def _run(self, runtime: Any) -> tuple[Any, list[Any]]:
    """Returns the last state and the metrics of all rounds."""
    with contextlib.closing(runtime):
      state, metrics = runtime.initialize(), []
      for round_number, cohort in enumerate(_COHORTS, start=1):
        state, measured = runtime.next(state, self._source.round_clients(round_number, np.array(cohort, int)))
        metrics.append(measured)
    return state, metrics

  @parameterized.named_parameters(
      ('sgd_plain', 'sgd', _PLAIN, True),
      ('momentum_clipped', 'momentum', _CLIPPED, False),
      ('yogi_quantized', 'yogi', _QUANTIZED, True),
      ('adagrad_quantized_without_xla', 'adagrad', _QUANTIZED, False),
      ('adam_private', 'adam', _PRIVATE, True),
  )
  def test_gives_the_numbers_of_tffs_runtime(self, optimizer: str, plan: privacy.PrivacyPlan, use_xla: bool) -> None:
    process = _build_process(optimizer, plan)
    ours, our_metrics = self._run(local.LocalRuntime(process, use_xla))
    theirs, their_metrics = self._run(tff_runtime.TffRuntime(process))
    for one, other in zip(ours.global_model_weights.trainable, theirs.global_model_weights.trainable, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-5)
    initial = _initial_weights(process)
    moved = max(np.abs(a - b).max() for a, b in zip(ours.global_model_weights.trainable, initial, strict=True))
    self.assertGreater(moved, 1e-3)
    for one, other in zip(tf.nest.flatten(our_metrics), tf.nest.flatten(their_metrics), strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4)

  @parameterized.parameters(True, False)
  def test_clients_of_one_size_train_as_a_block_with_the_same_numbers(self, use_xla: bool) -> None:
    process = _build_process('sgd', _QUANTIZED)
    source = client_data.ClientDataSource(self._source.shards, batch_size=4, epochs=1, max_examples=4, seed=_SEED)
    # Twice everybody and one more: whole chunks, whose clients all take one step, and a rest.
    clients = source.round_clients(1, np.arange(2 * _POPULATION + 1) % _POPULATION)
    chunks = mock.patch.object(local, '_MIN_CHUNKS', 2)
    with contextlib.closing(local.LocalRuntime(process, use_xla)) as ours, chunks:
      state, metrics = ours.next(ours.initialize(), clients)
    with contextlib.closing(tff_runtime.TffRuntime(process)) as theirs:
      expected, expected_metrics = theirs.next(theirs.initialize(), clients)
    for one, other in zip(state.global_model_weights.trainable, expected.global_model_weights.trainable, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(tf.nest.flatten(metrics), tf.nest.flatten(expected_metrics), strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4)

  @parameterized.parameters((0, 1), (1, 1), (20, 1), (47, 2), (100, 4), (128, 8), (10_000, 8))
  def test_chunks_are_enough_for_all_cores_and_never_large(self, num_clients: int, size: int) -> None:
    self.assertEqual(local._chunk_size(num_clients), size)

  def test_does_not_depend_on_the_number_of_threads(self) -> None:
    process = _build_process('adam', _CLIPPED)
    states = [self._run(local.LocalRuntime(process, False, num_threads))[0] for num_threads in (1, 2, 16)]
    for leaves in zip(*map(tf.nest.flatten, states), strict=True):
      np.testing.assert_array_equal(leaves[0], leaves[1])
      np.testing.assert_array_equal(leaves[0], leaves[2])

  def test_repeats_itself(self) -> None:
    process = _build_process('adam', _PRIVATE)
    first, again = (self._run(local.LocalRuntime(process, True))[0] for _ in range(2))
    for one, other in zip(tf.nest.flatten(first), tf.nest.flatten(again), strict=True):
      np.testing.assert_array_equal(one, other)

  def test_nobody_came_but_other_noise_did_each_round(self) -> None:
    process = algorithms.build_learning_process(
        functools.partial(next_character.build_model, fakes.SCHEMA, 40), fakes.SCHEMA, 4, 0.5,
        algorithms.build_server_optimizer('sgd', 1.0), _PRIVATE, _SEED,
    )  # fmt: skip
    with contextlib.closing(local.LocalRuntime(process, True)) as runtime:
      models = [runtime.initialize()]
      for _ in range(3):
        state, metrics = runtime.next(models[-1], [])
        self.assertEqual(metrics['aggregator']['sums']['clients'], 0)
        models.append(state)
    flat = [np.concatenate([weight.ravel() for weight in model.global_model_weights.trainable]) for model in models]
    noise = np.diff(flat, axis=0)
    # With n weights a correlation deviates by 1 / sqrt(n), the logarithm of a deviation by 1 / sqrt(2 n).
    np.testing.assert_allclose(np.corrcoef(noise), np.eye(3), atol=6 / np.sqrt(noise.shape[1]))
    expected = _PRIVATE.noise_stddev(noise.shape[1]) / _PRIVATE.clients_per_round
    np.testing.assert_allclose(np.std(noise, axis=1) / expected, 1.0, atol=6 / np.sqrt(2 * noise.shape[1]))

  def test_a_client_without_numbers_leaves_the_others(self) -> None:
    process = _build_process('sgd', _QUANTIZED)
    diverging = algorithms.build_learning_process(
        functools.partial(next_character.build_model, fakes.SCHEMA, 5), fakes.SCHEMA, 4, 1e38,
        algorithms.build_server_optimizer('sgd', 0.1), _QUANTIZED, _SEED,
    )  # fmt: skip
    for built, rejected in ((process, 0), (diverging, 1)):
      with contextlib.closing(local.LocalRuntime(built, True)) as runtime:
        state, metrics = runtime.next(runtime.initialize(), self._source.round_clients(1, np.array([1])))
      self.assertEqual(metrics['aggregator']['sums']['rejected'], rejected)
      self.assertTrue(all(np.isfinite(weight).all() for weight in state.global_model_weights.trainable))

  def test_an_error_in_a_clients_data_ends_the_round(self) -> None:
    def broken() -> client_data.ClientBatches:
      raise ValueError('Expected whole client data, found none.')

    clients = [*self._source.round_clients(1, np.array([1])), broken]

    with (
        contextlib.closing(local.LocalRuntime(_build_process('sgd', _PLAIN), True)) as runtime,
        self.assertRaisesRegex(ValueError, 'whole client data'),
    ):
      runtime.next(runtime.initialize(), clients)


def _initial_weights(process: tff.learning.templates.LearningProcess) -> list[np.ndarray]:
  with contextlib.closing(local.LocalRuntime(process, False)) as runtime:
    return list(runtime.initialize().global_model_weights.trainable)


if __name__ == '__main__':
  absltest.main()
