"""Tests that the parts of a run are those that its config ask for."""

import dataclasses
from unittest import mock

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tests.tff_tasks import fakes
from tff_tasks.aggregation import krum
from tff_tasks.algorithms import fed_prox
from tff_tasks.algorithms import learning_process
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import capabilities
from tff_tasks.population import seeds
from tff_tasks.privacy import segments as segments_lib
from tff_tasks.training import parts

_SEED = seeds.Seed.from_number(5)


class BuildPlanTest(absltest.TestCase):
  def test_takes_the_noise_or_finds_it(self) -> None:
    self.assertEqual(parts.build_plan(fakes.CONFIG, 100).noise_multiplier, 1.0)
    target = dataclasses.replace(fakes.CONFIG, noise_multiplier=None, target_epsilon=3.0)
    plan = parts.build_plan(target, 100)
    self.assertBetween(segments_lib.epsilon_of_plan(plan, 4), 2.9, 3.0)
    self.assertIsNone(
      segments_lib.epsilon_of_plan(parts.build_plan(dataclasses.replace(fakes.CONFIG, noise_multiplier=0.0), 100), 4)
    )

  def test_the_target_includes_what_the_data_set_has_spent(self) -> None:
    target = dataclasses.replace(fakes.CONFIG, noise_multiplier=None, target_epsilon=3.0)
    plan = parts.build_plan(target, 100, [fakes.WORDS])
    self.assertBetween(segments_lib.epsilon_of_plan(plan, 4), 2.9, 3.0)
    self.assertBetween(segments_lib.training_epsilon_of([segments_lib.Segment(plan, 4)]), 1.9, 2.0)
    with self.assertRaisesRegex(ValueError, 'above 1, which the data set alone has spent'):
      parts.build_plan(dataclasses.replace(target, sampling='fixed', target_epsilon=1.0), 100, [fakes.WORDS])

  def test_a_seeded_run_promises_nothing(self) -> None:
    plan = parts.build_plan(dataclasses.replace(fakes.CONFIG, seed=0), 100)
    self.assertIsNone(segments_lib.epsilon_of_plan(plan, 4))


class BuildSeedTest(absltest.TestCase):
  def test_is_a_secret_unless_it_is_given(self) -> None:
    self.assertNotEqual(parts.build_seed(fakes.CONFIG), parts.build_seed(fakes.CONFIG))
    given = dataclasses.replace(fakes.CONFIG, seed=5)
    self.assertEqual(parts.build_seed(given), _SEED)


class BuildLearningProcessTest(absltest.TestCase):
  def test_settings_reach_the_process(self) -> None:
    plan = parts.build_plan(fakes.CONFIG, len(fakes.SIZES))
    with mock.patch.object(learning_process, 'build_learning_process') as build:
      config = dataclasses.replace(
        fakes.CONFIG,
        algorithm='fed_prox',
        algorithm_options=['mu=0.1'],
        aggregation='krum',
        aggregation_options=['byzantine=1'],
      )
      parts.build_learning_process(config, 4, mock.sentinel.model, fakes.SCHEMA, plan, _SEED)
    algorithm, build_model, schema, training, server_optimizer, *rest = build.call_args.args
    self.assertEqual(algorithm, fed_prox.FedProx(0.1))
    self.assertEqual((build_model, schema, rest), (mock.sentinel.model, fakes.SCHEMA, [plan, _SEED, krum.Krum(1)]))
    self.assertEqual(training, local_sgd.LocalTraining(0.5, batch_size=4, epochs=1, total_rounds=4))
    begin = server_optimizer.initialize(tf.TensorSpec([2]))
    self.assertEqual(begin['learning_rate'], 0.01)
    self.assertIn('preconditioner', begin)  # Of Adam.

  def test_classes_have_the_largest_batch_and_work_by_client(self) -> None:
    classes = capabilities.Capability('fast', 2, 32, 1.0), capabilities.Capability('slow', 1, 2, 0.5)
    found = capabilities.Capabilities(classes, np.array([0, 1] * 4))
    plan = parts.build_plan(fakes.CONFIG, len(fakes.SIZES))
    with mock.patch.object(learning_process, 'build_learning_process') as build:
      parts.build_learning_process(fakes.CONFIG, 4, mock.sentinel.model, fakes.SCHEMA, plan, _SEED, found)
    training = build.call_args.args[3]
    self.assertEqual((training.batch_size, training.is_by_client), (32, True))
    source = parts.build_source(fakes.CONFIG, mock.sentinel.shards, _SEED, None, found)
    self.assertEqual((source.batch_size, source.max_examples, source.capabilities), (32, 8, found))
    plain = parts.build_source(fakes.CONFIG, mock.sentinel.shards, _SEED)
    self.assertEqual((plain.batch_size, plain.capabilities), (4, None))

  def test_a_linear_schedule_ends_with_the_rounds(self) -> None:
    linear = dataclasses.replace(fakes.CONFIG, server_learning_rate_schedule='linear', total_rounds=10)
    plan = parts.build_plan(linear, len(fakes.SIZES))
    with mock.patch.object(learning_process, 'build_learning_process') as build:
      parts.build_learning_process(linear, 4, mock.sentinel.model, fakes.SCHEMA, plan, _SEED)
    optimizer, weights = build.call_args.args[4], tf.zeros([2])
    state, rates = optimizer.initialize(tf.TensorSpec([2])), []
    for _ in range(4):
      state, _ = optimizer.next(state, weights, weights)
      rates.append(float(state['optimizer']['learning_rate']))
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.005, 0.0], rtol=1e-5)  # Of the rounds that follow.


if __name__ == '__main__':
  absltest.main()
