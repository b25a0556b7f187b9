"""Tests of the word model: its form, that it learns as clients do, and that a device can run it."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from models.tasks import next_word
from tests.models import trials

_WORDS = 300  # More than a byte counts.


def _schema(feature_dtype: str, label_dtype: str) -> schema_lib.Schema:
  return schema_lib.Schema(
    'next_word',
    schema_lib.Feature('words', feature_dtype, (6,)),
    schema_lib.Feature('next_words', label_dtype, (6,)),
    tuple(f'word {number}' for number in range(_WORDS)),
  )


class NextWordTest(parameterized.TestCase):
  def test_sizes(self) -> None:
    model = next_word.TASK.build_model(_schema('uint16', 'int16'), 7, False, None)
    self.assertEqual((model.name, model.input_names, model.input.dtype), ('next_word', ['words'], tf.int32))
    shapes = [weight.shape for weight in model.get_weights()]
    self.assertEqual(shapes, [(300, 32), (32, 21), (7, 21), (2, 21), (7, 300), (300,)])

  def test_the_form_for_the_device(self) -> None:
    model = next_word.TASK.build_model(_schema('uint16', 'int16'), 7, True, 1)
    self.assertEqual(model.output_shape, (1, 6, _WORDS))
    self.assertTrue(model.get_layer('gru').unroll)

  @parameterized.parameters(('uint16', 'int16'), ('int16', 'int16'), ('int32', 'int32'))
  def test_learns_which_word_follows(self, feature_dtype: str, label_dtype: str) -> None:
    words = np.random.default_rng(1).integers(0, 5, (40, 6)) + _WORDS - 5
    followers = (words - 1).astype(label_dtype)
    schema = _schema(feature_dtype, label_dtype)
    losses = trials.losses_of_training(next_word.TASK, schema, words.astype(feature_dtype), followers, 1.0)
    self.assertAlmostEqual(losses[0], np.log(_WORDS), delta=0.5)
    self.assertLess(losses[-1], 0.5)

  def test_runs_on_a_device(self) -> None:
    words = np.random.default_rng(2).integers(0, _WORDS, (3, 6)).astype(np.uint16)
    path = os.path.join(self.create_tempdir().full_path, 'model.tflite')
    on_device, expected = trials.logits_on_device(next_word.TASK, _schema('uint16', 'int16'), words, path)
    np.testing.assert_allclose(on_device, expected, rtol=0, atol=1e-5)
    self.assertEqual(on_device.shape, (3, 6, _WORDS))


if __name__ == '__main__':
  absltest.main()
