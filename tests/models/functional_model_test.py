from collections.abc import Callable
import functools
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from models import functional_model
from models.layers import gru as gru_lib
from models.tasks import next_character
from tests.tff_tasks import fakes

_build_text_model = functools.partial(next_character.build_model, fakes.SCHEMA, 5)
_STEPS = 3


def _branched() -> tf.keras.Model:
  """Lists its layers in another order than it builds them, and their weights have the same shapes."""
  features = tf.keras.Input([3])
  first = tf.keras.layers.Dense(4, name='first')(features)
  second = tf.keras.layers.Dense(4, name='second')(features)
  return tf.keras.Model(features, tf.keras.layers.Subtract()([second, first]))


def _sequential(*layers: tf.keras.layers.Layer) -> Callable[[], tf.keras.Model]:
  return lambda: tf.keras.Sequential([tf.keras.Input([3]), *layers])


def _apply(model: functional_model.FunctionalModel, weights: list[np.ndarray], features: np.ndarray) -> np.ndarray:
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    return session.run(model(list(map(tf.constant, weights)), tf.constant(features)))


def _loss(logits: tf.Tensor) -> tf.Tensor:
  return tf.reduce_mean(tf.nn.log_softmax(logits)[..., 1])


def _train(model: functional_model.FunctionalModel, weights: list[tf.Tensor], features: tf.Tensor) -> list[tf.Tensor]:
  """Takes steps in a loop, as client work does."""

  def step(index: tf.Tensor, current: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
      tape.watch(current)
      loss = _loss(model(current, features))
    gradients = map(tf.convert_to_tensor, tape.gradient(loss, current))
    return index + 1, [weight - 0.1 * gradient for weight, gradient in zip(current, gradients, strict=True)]

  return tf.while_loop(lambda index, _: index < _STEPS, step, (tf.constant(0), weights))[1]


class FunctionalModelTest(parameterized.TestCase):
  def test_gives_the_logits_of_keras(self) -> None:
    stream = np.random.default_rng(0)
    cases: list[tuple[Callable[[], tf.keras.Model], np.ndarray]] = [
      (_branched, stream.normal(size=(2, 3)).astype(np.float32)),
      (_build_text_model, stream.integers(0, 9, (2, 12)).astype(np.uint8)),
    ]
    for build_model, features in cases:
      model = functional_model.FunctionalModel(build_model, 1)
      weights = [stream.normal(size=weight.shape).astype(np.float32) for weight in model.initial_weights]
      keras_model = build_model()
      keras_model.set_weights(weights)
      expected = keras_model(features).numpy()  # First: what is built in a graph changes Keras' classes.
      np.testing.assert_allclose(_apply(model, weights, features), expected, atol=1e-5)

  def _example(self) -> tuple[functional_model.FunctionalModel, list[np.ndarray], np.ndarray]:
    stream = np.random.default_rng(0)
    model = functional_model.FunctionalModel(_build_text_model, 1)
    weights = [stream.normal(size=weight.shape).astype(np.float32) for weight in model.initial_weights]
    return model, weights, stream.integers(0, 9, (4, 12)).astype(np.uint8)

  def _train_keras(self, weights: list[np.ndarray], features: np.ndarray) -> list[np.ndarray]:
    model = _build_text_model()
    model.set_weights(weights)
    for _ in range(_STEPS):
      with tf.GradientTape() as tape:
        loss = _loss(model(features))
      for variable, gradient in zip(model.weights, tape.gradient(loss, model.weights), strict=True):
        variable.assign_sub(0.1 * tf.convert_to_tensor(gradient))
    return model.get_weights()

  @parameterized.named_parameters(('tff', 'graph'), ('without_xla', False), ('with_xla', True))
  def test_trains_as_keras_does(self, way: str | bool) -> None:
    model, weights, features = self._example()
    expected = self._train_keras(weights, features)
    with mock.patch.object(gru_lib, 'gru', wraps=gru_lib.gru) as gru:
      if way == 'graph':  # As in `tff.tensorflow.computation`.
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
          trained = session.run(_train(model, list(map(tf.constant, weights)), tf.constant(features)))
      else:
        train = tf.function(functools.partial(_train, model), jit_compile=way, autograph=False)
        trained = train(list(map(tf.constant, weights)), tf.constant(features))
    gru.assert_called_once()
    for one, other in zip(trained, expected, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-5)

  @parameterized.parameters(False, True)
  def test_evaluates_batches_of_any_size(self, xla: bool) -> None:
    model, weights, features = self._example()
    keras_model = _build_text_model()
    keras_model.set_weights(weights)
    specs = [[tf.TensorSpec(weight.shape) for weight in weights], tf.TensorSpec([None, 12], tf.uint8)]
    apply = functools.partial(model, training=False)
    evaluate = tf.function(apply, input_signature=specs, jit_compile=xla, autograph=False)
    for size in (1, 4):
      found = evaluate(list(map(tf.constant, weights)), tf.constant(features[:size]))
      np.testing.assert_allclose(found, keras_model(features[:size]), atol=1e-5)

  def test_names_the_weights_of_each_layer(self) -> None:
    model = functional_model.FunctionalModel(_build_text_model, 1)
    self.assertEqual(model.layers, {'embedding': (0,), 'gru': (1, 2, 3), 'logits': (4, 5)})
    self.assertEqual([model.initial_weights[index].shape for index in model.layers['logits']], [(5, 10), (10,)])
    self.assertEqual(functional_model.FunctionalModel(_branched, 1).layers, {'first': (2, 3), 'second': (0, 1)})

  def test_initial_weights_depend_on_the_seed_alone(self) -> None:
    first, again, other = (functional_model.FunctionalModel(_branched, seed).initial_weights for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
      np.testing.assert_array_equal(one, two)
    self.assertFalse(np.array_equal(first[0], other[0]))

  def test_refuses_weights_that_rounds_would_never_update(self) -> None:
    with self.assertRaisesRegex(
      ValueError, 'trainable weights only, found norm/moving_mean:0, norm/moving_var.*: use Group'
    ):
      functional_model.FunctionalModel(_sequential(tf.keras.layers.BatchNormalization(name='norm')), 1)
    functional_model.FunctionalModel(_sequential(tf.keras.layers.GroupNormalization(1)), 1)

  def test_refuses_layers_that_were_made_before(self) -> None:
    shared = tf.keras.layers.Dense(2, name='shared')
    message = 'all made in build_model, found shared/kernel:0, shared/bias:0 made before: make these layers there'
    model = functional_model.FunctionalModel(_sequential(shared), 1)  # Its weights are made here.
    with self.assertRaisesRegex(ValueError, message):
      tf.function(lambda: model(list(map(tf.constant, model.initial_weights)), tf.ones((1, 3))), autograph=False)()
    with self.assertRaisesRegex(ValueError, message):
      functional_model.FunctionalModel(_sequential(shared), 1)

  def test_refuses_random_numbers_that_a_resumed_run_would_not_draw_again(self) -> None:
    inner = tf.keras.Sequential([tf.keras.Input([2]), tf.keras.layers.Dropout(0.5, name='drop')], name='inner')
    for layer, found in (
      (tf.keras.layers.Dropout(0.5, name='drop'), 'RandomUniform in drop: remove Dropout and noise'),
      (tf.keras.layers.GaussianNoise(1.0, name='noise'), 'RandomStandardNormal in noise: remove'),
      (inner, 'RandomUniform in drop: remove'),
      (tf.keras.layers.Lambda(lambda x: x + tf.random.truncated_normal([2]), name='own'), 'TruncatedNormal in own:'),
    ):
      with self.assertRaisesRegex(ValueError, f'trains the same way twice, found {found}'):
        functional_model.FunctionalModel(_sequential(tf.keras.layers.Dense(2), layer), 1)
    functional_model.FunctionalModel(_sequential(tf.keras.layers.Dense(2)), 1)


if __name__ == '__main__':
  absltest.main()
