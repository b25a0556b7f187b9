from collections.abc import Callable
import functools

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from models import next_character
from tests.tff_tasks import fakes
from tff_tasks import functional


def _branched() -> tf.keras.Model:
  """Lists its layers in another order than it builds them, and their weights have the same shapes."""
  features = tf.keras.Input([3])
  first = tf.keras.layers.Dense(4, name='first')(features)
  second = tf.keras.layers.Dense(4, name='second')(features)
  return tf.keras.Model(features, tf.keras.layers.Subtract()([second, first]))


def _sequential(*layers: tf.keras.layers.Layer) -> Callable[[], tf.keras.Model]:
  return lambda: tf.keras.Sequential([tf.keras.Input([3]), *layers])


def _apply(model: functional.FunctionalModel, weights: list[np.ndarray], features: np.ndarray) -> np.ndarray:
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    return session.run(model(list(map(tf.constant, weights)), tf.constant(features)))


class FunctionalModelTest(absltest.TestCase):
  def test_gives_the_logits_of_keras(self) -> None:
    stream = np.random.default_rng(0)
    text = functools.partial(next_character.build_model, fakes.SCHEMA, 5)
    cases: list[tuple[Callable[[], tf.keras.Model], np.ndarray]] = [
        (_branched, stream.normal(size=(2, 3)).astype(np.float32)),
        (text, stream.integers(0, 9, (2, 12)).astype(np.uint8)),
    ]
    for build_model, features in cases:
      model = functional.FunctionalModel(build_model, 1)
      weights = [stream.normal(size=weight.shape).astype(np.float32) for weight in model.initial_weights]
      keras_model = build_model()
      keras_model.set_weights(weights)
      expected = keras_model(features).numpy()  # First: what is built in a graph changes Keras' classes.
      np.testing.assert_allclose(_apply(model, weights, features), expected, atol=1e-5)

  def test_initial_weights_depend_on_the_seed_alone(self) -> None:
    first, again, other = (functional.FunctionalModel(_branched, seed).initial_weights for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
      np.testing.assert_array_equal(one, two)
    self.assertFalse(np.array_equal(first[0], other[0]))

  def test_refuses_weights_that_rounds_would_never_update(self) -> None:
    with self.assertRaisesRegex(ValueError, 'trainable weights only, found .*moving_mean'):
      functional.FunctionalModel(_sequential(tf.keras.layers.BatchNormalization()), 1)

  def test_refuses_random_numbers_that_a_resumed_run_would_not_draw_again(self) -> None:
    for layer in (tf.keras.layers.Dropout(0.5), tf.keras.layers.GaussianNoise(1.0)):
      with self.assertRaisesRegex(ValueError, 'trains the same way twice, found Random'):
        functional.FunctionalModel(_sequential(tf.keras.layers.Dense(2), layer), 1)


if __name__ == '__main__':
  absltest.main()
