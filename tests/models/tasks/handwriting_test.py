"""Tests of the handwriting model: it scales what a camera gives, and the device's form gives the same answers."""

import dataclasses

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models.tasks import handwriting
from pipelines.featurizers import image

_SCHEMA = schema_lib.Schema(
  'handwriting',
  schema_lib.Feature('image', 'uint8', (28, 28)),
  schema_lib.Feature('character', 'int8', ()),
  tuple('abcdefg'),
)
_SIZE = 11


class HandwritingTest(absltest.TestCase):
  model: tf.keras.Model
  images: np.ndarray

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    tf.keras.utils.set_random_seed(1)
    cls.model = handwriting.TASK.build_model(_SCHEMA, _SIZE, False, None)
    cls.images = np.random.default_rng(2).integers(0, 256, (3, 28, 28)).astype(np.float32)

  def test_logits(self) -> None:
    logits = self.model(self.images).numpy()
    self.assertEqual((logits.shape, logits.dtype), ((3, 7), np.float32))
    self.assertTrue((logits < 0).any(), 'Probabilities are no logits.')

  def test_input_is_the_schemas(self) -> None:
    self.assertEqual(self.model.input_names, ['image'])
    self.assertEqual((self.model.input.dtype, tuple(self.model.input.shape)), (tf.float32, (None, 28, 28)))

  def test_white_paper_is_zero_and_black_ink_is_one(self) -> None:
    ink = tf.keras.Model(self.model.input, self.model.get_layer('ink').output)
    image = np.full((1, 28, 28), 255, np.float32)
    image[0, 3, 4], image[0, 5, 6] = 0, 51
    expected = np.zeros((1, 28, 28))
    expected[0, 3, 4], expected[0, 5, 6] = 1.0, 0.8
    np.testing.assert_allclose(ink(image).numpy(), expected, rtol=0, atol=1e-6)

  def test_scaling_reaches_the_logits(self) -> None:
    """With no biases yet, paper without ink says nothing."""
    white = self.model(np.full((1, 28, 28), 255, np.float32)).numpy()
    np.testing.assert_allclose(white, 0, atol=1e-6)
    self.assertGreater(np.abs(self.model(self.images).numpy()).max(), 1e-3)

  def test_the_form_for_the_device_gives_the_same_logits(self) -> None:
    model = handwriting.TASK.build_model(_SCHEMA, _SIZE, True, 1)
    self.assertEqual(model.input.shape[0], 1)
    model.set_weights(self.model.get_weights())
    for example in self.images[:, np.newaxis]:
      np.testing.assert_allclose(model(example).numpy(), self.model(example).numpy(), rtol=0, atol=1e-6)

  def test_model_size_is_the_width_of_the_dense_layer(self) -> None:
    self.assertEqual(self.model.get_layer('dense').units, _SIZE)

  def test_refuses_smaller_images_than_it_can_pool_as_preprocessing_does(self) -> None:
    smallest = image.Image('picture', 'character', ('a', 'b'), 10, 10).schema
    model = handwriting.TASK.build_model(smallest, _SIZE, False, None)
    self.assertEqual(model(np.zeros((1, 10, 10))).shape, (1, 2))
    feature = dataclasses.replace(smallest.feature, shape=(28, 9))
    with self.assertRaisesRegex(ValueError, '^Expected images of at least 10x10, found 28x9: preprocess larger ones.$'):
      handwriting.TASK.build_model(dataclasses.replace(smallest, feature=feature), _SIZE, False, None)
    with self.assertRaisesRegex(ValueError, '^Expected images of at least 10x10, found 28x9:'):
      image.Image('picture', 'character', ('a', 'b'), 28, 9)


if __name__ == '__main__':
  absltest.main()
