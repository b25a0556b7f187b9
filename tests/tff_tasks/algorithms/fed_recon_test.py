"""Tests that FedRecon is TFF's, and that nothing of a local layer leaves the client."""

import collections
from collections.abc import Sequence
import dataclasses
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.tff_tasks import algorithm_reference
from tests.tff_tasks import algorithm_rounds
from tests.tff_tasks import fakes
from tff_tasks import config as config_lib
from tff_tasks.algorithms import fed_recon
from tff_tasks.algorithms import learning_process
from tff_tasks.population import capabilities
from tff_tasks.runtime import tff as tff_runtime

_LOCAL = fed_recon.FedRecon('logits', reconstruction_epochs=3, reconstruction_learning_rate=0.25)
_BATCH, _EPOCHS = algorithm_rounds.TRAINING.batch_size, algorithm_rounds.TRAINING.epochs
_TABLE_SIZE = algorithm_rounds.build_model().initial_weights[0].size
_RUNTIMES = (('local', False), ('local', True), ('tff', False))


def _is_local(layers: str) -> np.ndarray:
  """Returns which of the weights, as one vector, are of local layers."""
  is_of_table = np.arange(algorithm_rounds.begin().size) < _TABLE_SIZE
  return is_of_table if layers == 'embedding' else ~is_of_table


def _train(toy: algorithm_reference.Toy, algorithm: fed_recon.FedRecon, client: int, begin: np.ndarray) -> np.ndarray:
  """Returns the weights of a client after both stages."""
  weights, is_local = begin.astype(float), _is_local(algorithm.local_layers)
  examples, (epochs, batch_size) = toy.examples(client), _work(toy, client)
  half = examples // 2 if algorithm.split else examples
  rate = algorithm.reconstruction_learning_rate or toy.training.learning_rate
  for _ in range(algorithm.reconstruction_epochs * -(-half // batch_size)):
    weights = weights - rate * toy.gradient(client, weights) * is_local
  rest = examples - half if algorithm.split else examples
  for _ in range(epochs * -(-rest // batch_size)):
    weights = weights - toy.training.learning_rate * toy.gradient(client, weights) * ~is_local
  return weights


def _work(toy: algorithm_reference.Toy, client: int) -> tuple[int, int]:
  if not toy.capabilities:
    return toy.training.epochs, toy.training.batch_size
  own = toy.capabilities.classes[toy.capabilities.class_of[client]]
  return own.epochs, own.batch_size


def _run_reference(toy: algorithm_reference.Toy, algorithm: fed_recon.FedRecon) -> np.ndarray:
  """Returns the weights after rounds in NumPy."""
  weights, is_global = algorithm_rounds.begin().astype(float), ~_is_local(algorithm.local_layers)
  for cohort in algorithm_rounds.CHANGING:
    moved = np.mean([weights - _train(toy, algorithm, client, weights) for client in cohort], axis=0)
    weights = weights - moved * is_global
  return weights


def _run_tffs(
  toy: algorithm_reference.Toy,
  algorithm: fed_recon.FedRecon,
  weighting: tff.learning.ClientWeighting = tff.learning.ClientWeighting.UNIFORM,
) -> list[np.ndarray]:
  """Returns the global weights after rounds of `tff.learning.algorithms.build_fed_recon`."""
  element = collections.OrderedDict(x=tf.TensorSpec([None, 12], tf.int32), y=tf.TensorSpec([None, 12], tf.int32))

  def build_model() -> tff.learning.models.ReconstructionModel:
    table, dense, bias = map(tf.keras.initializers.Constant, algorithm_rounds.build_model().initial_weights)
    codes = tf.keras.Input([12], dtype=tf.int32)
    embedding = tf.keras.layers.Embedding(*algorithm_rounds.build_model().initial_weights[0].shape, table)
    logits = tf.keras.layers.Dense(fakes.SCHEMA.num_classes, None, True, dense, bias)
    layers = [embedding], [logits]
    keras_model = tf.keras.Model(codes, logits(embedding(codes)))
    return tff.learning.models.ReconstructionModel.from_keras_model_and_layers(
      keras_model=keras_model,
      global_layers=layers[algorithm.local_layers == 'embedding'],
      local_layers=layers[algorithm.local_layers == 'logits'],
      input_spec=element,
    )

  def split(dataset: tf.data.Dataset) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    # TFF's own splits whole batches.
    examples = dataset.unbatch()
    half = examples.reduce(tf.constant(0, tf.int64), lambda count, _: count + 1) // 2
    first, second = (examples.take(half), examples.skip(half)) if algorithm.split else (examples, examples)
    return first.batch(_BATCH).repeat(algorithm.reconstruction_epochs), second.batch(_BATCH).repeat(_EPOCHS)

  build_sgd = tff.learning.optimizers.build_sgdm
  process = tff.learning.algorithms.build_fed_recon(
    build_model,
    loss_fn=algorithm_reference.MeanLoss,
    server_optimizer_fn=build_sgd(1.0),
    client_optimizer_fn=build_sgd(toy.training.learning_rate),
    reconstruction_optimizer_fn=build_sgd(algorithm.reconstruction_learning_rate or toy.training.learning_rate),
    dataset_split_fn=split,
    client_weighting=weighting,
  )
  return _run_process(process, toy, algorithm_rounds.CHANGING)


def _run_process(
  process: tff.learning.templates.LearningProcess, toy: algorithm_reference.Toy, cohorts: Sequence[Sequence[int]]
) -> list[np.ndarray]:
  def data(client: int) -> tf.data.Dataset:
    features, labels = (array[: toy.examples(client)].astype(np.int32) for array in toy.shards.read('train', client))
    return tf.data.Dataset.from_tensors(collections.OrderedDict(x=features, y=labels))

  runtime: Any = tff_runtime.TffRuntime(process)
  try:
    state = process.initialize()
    for cohort in cohorts:
      state = process.next(state, list(map(data, cohort))).state
    return list(state.global_model_weights.trainable)
  finally:
    runtime.close()


class FedReconTest(algorithm_rounds.RoundsTestCase):
  def setUp(self) -> None:
    super().setUp()
    self._toy = algorithm_reference.Toy(self.shards)

  @parameterized.parameters(
    _LOCAL, fed_recon.FedRecon('embedding'), fed_recon.FedRecon('logits', split=False, reconstruction_epochs=2)
  )
  def test_is_that_of_tff(self, algorithm: fed_recon.FedRecon) -> None:
    ours = self.rounds.run(algorithm, cohorts=algorithm_rounds.CHANGING).weights
    theirs = algorithm_rounds.join(_run_tffs(self._toy, algorithm))
    is_local, begin = _is_local(algorithm.local_layers), algorithm_rounds.begin()
    algorithm_rounds.assert_close(ours[~is_local], theirs)
    self.assertGreater(algorithm_rounds.distance(ours[~is_local], begin[~is_local]), 0.05)
    np.testing.assert_array_equal(ours[is_local], begin[is_local])

  @parameterized.parameters(True, False)
  def test_weights_by_the_examples_of_the_second_stage(self, split: bool) -> None:
    """As TFF does. Among the cohorts' clients are some with an odd number of examples."""
    algorithm = fed_recon.FedRecon('embedding', split=split)
    rounds = dataclasses.replace(self.rounds, plan=dataclasses.replace(algorithm_rounds.PLAIN, weighting='examples'))
    ours = rounds.run(algorithm, cohorts=algorithm_rounds.CHANGING).weights[~_is_local('embedding')]
    by_examples, by_client = (
      algorithm_rounds.join(_run_tffs(self._toy, algorithm, weighting))
      for weighting in (tff.learning.ClientWeighting.NUM_EXAMPLES, tff.learning.ClientWeighting.UNIFORM)
    )
    algorithm_rounds.assert_close(ours, by_examples)
    self.assertGreater(algorithm_rounds.distance(by_examples, by_client), 1e-3)

  def test_is_that_of_numpy_on_both_runtimes(self) -> None:
    expected = _run_reference(self._toy, _LOCAL)
    for runtime, use_xla in _RUNTIMES:
      found = self.rounds.run(_LOCAL, runtime, use_xla, algorithm_rounds.CHANGING).weights
      algorithm_rounds.assert_close(found, expected)

  def test_clients_with_work_of_their_own_reconstruct_with_their_own_batch_size(self) -> None:
    kinds = (capabilities.Capability('high', 3, 4, 1.0), capabilities.Capability('low', 1, 2, 0.5))
    classes = capabilities.Capabilities(kinds, np.array([1, 0, 1, 0, 1, 1, 0, 0]))
    training = dataclasses.replace(algorithm_rounds.TRAINING, is_by_client=True)
    rounds = dataclasses.replace(self.rounds, training=training, capabilities=classes)
    expected = _run_reference(dataclasses.replace(self._toy, capabilities=classes), _LOCAL)
    algorithm_rounds.assert_close(rounds.run(_LOCAL, cohorts=algorithm_rounds.CHANGING).weights, expected)

  def test_what_is_measured_is_the_model_after_reconstruction(self) -> None:
    """The norm of an update is that of the global layers alone."""
    found = self.rounds.run(_LOCAL, cohorts=(algorithm_rounds.COHORT,))
    begin, is_global = algorithm_rounds.begin(), ~_is_local('logits')
    moved = [(begin - _train(self._toy, _LOCAL, client, begin)) for client in algorithm_rounds.COHORT]
    np.testing.assert_allclose(sorted(found.norms), sorted(np.linalg.norm(one[is_global]) for one in moved), rtol=1e-4)

  def test_with_noise_both_runtimes_are_equal_and_local_layers_stay(self) -> None:
    for bits in (0, 8):
      plan = dataclasses.replace(algorithm_rounds.PRIVATE, quantization_bits=bits)
      rounds = dataclasses.replace(self.rounds, plan=plan)
      ours, theirs = (rounds.run(_LOCAL, *how, cohorts=algorithm_rounds.CHANGING).weights for how in _RUNTIMES[::2])
      algorithm_rounds.assert_close(ours, theirs)
      is_local, begin = _is_local('logits'), algorithm_rounds.begin()
      np.testing.assert_array_equal(ours[is_local], begin[is_local])
      self.assertGreater(np.abs(ours - begin)[~is_local].min(), 0)


class UpdateTest(parameterized.TestCase):
  def test_no_number_of_a_local_layer_is_in_the_update(self) -> None:
    built = algorithm_rounds.build_process(_LOCAL)
    self.assertEqual(built.update_size, _TABLE_SIZE)
    self.assertEqual((built.memory_size, built.upload_numbers, built.download_numbers), (0, 0, 0))
    plan = dataclasses.replace(algorithm_rounds.PRIVATE, quantization_bits=8)
    self.assertLess(plan.update_bytes(built.update_size), plan.update_bytes(algorithm_rounds.begin().size))

  @parameterized.parameters(*config_lib.SERVER_OPTIMIZERS)
  def test_no_server_optimizer_moves_what_has_no_update(self, name: str) -> None:
    optimizer = learning_process.build_server_optimizer(name, 0.1, 'linear', 8)
    weights = (tf.ones([2]), tf.fill([2], 1 / 3))
    state = optimizer.initialize(tuple(tf.TensorSpec(weight.shape) for weight in weights))
    for _ in range(3):
      state, weights = optimizer.next(state, weights, (tf.ones([2]), tf.zeros([2])))
    np.testing.assert_array_equal(weights[1], tf.fill([2], 1 / 3))
    self.assertLess(float(weights[0][0]), 1)


class OptionsTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'local_layers': ''}, "names of layers, found '': give --algorithm_options=local_layers=logits"),
    ({'local_layers': 'dense+'}, "names of layers, found 'dense[+]'"),
    ({'local_layers': 'logits', 'reconstruction_epochs': 0}, 'reconstruction_epochs of at least 1, found 0'),
    ({'local_layers': 'logits', 'reconstruction_learning_rate': -1.0}, 'of at least 0, found -1.0'),
  )
  def test_refuses_other_values(self, options: dict[str, Any], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      fed_recon.FedRecon(**options)

  @parameterized.parameters(
    ('logit', r"layers of the model that have weights \(embedding, logits\), found 'logit': did you mean logits[?]"),
    ('logits+dense', "found 'dense': choose among these"),
    ('embedding+logits', r'some of the layers of the model \(embedding, logits\), found all of them'),
  )
  def test_refuses_other_layers(self, layers: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      algorithm_rounds.build_process(fed_recon.FedRecon(layers))
    self.assertEqual(algorithm_rounds.build_process(fed_recon.FedRecon('logits+logits')).update_size, _TABLE_SIZE)

  def test_says_how_a_device_reconstructs(self) -> None:
    config = dataclasses.replace(fakes.CONFIG, client_learning_rate=0.5, client_batch_size=4)
    self.assertEqual(_LOCAL.on_device(config), (3, 0.25, 4, ('logits',)))
    self.assertEqual(fed_recon.FedRecon('b+a').on_device(config), (1, 0.5, 4, ('b', 'a')))

  def test_fine_tuning_is_refused(self) -> None:
    _LOCAL.check(fakes.CONFIG)
    with self.assertRaisesRegex(ValueError, 'Expected no --personalize_epochs with --algorithm=fed_recon'):
      _LOCAL.check(dataclasses.replace(fakes.CONFIG, personalize_epochs=2))


if __name__ == '__main__':
  absltest.main()
