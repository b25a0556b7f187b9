"""Tests which layers each technique takes, and that recurrent models are fine-tuned where they can be."""

import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import interpreter as litert
import numpy as np
import tensorflow as tf

from contracts import schema as schema_lib
from export import guard
from export import tflite
from export.variants import clustered
from export.variants import fine_tuning
from export.variants import pruned
from export.variants import qat
from models import registry
from tests.export import fakes

_WINDOWS = schema_lib.Schema(
  'classification',
  schema_lib.Feature('numbers', 'float32', (16, 3)),
  schema_lib.Feature('label', 'int32', ()),
  ('a', 'b', 'c'),
)
_TABLE = schema_lib.Schema(
  'classification', schema_lib.Feature('row', 'float32', (6,)), _WINDOWS.label, ('a', 'b', 'c')
)
_ALL = (qat.QuantizationAware(), clustered.Clustered(), pruned.Pruned())


@tf.keras.utils.register_keras_serializable('mine')
class _Scale(tf.keras.layers.Layer):
  def build(self, shape: tf.TensorShape) -> None:
    self.scale = self.add_weight('scale', shape[-1:])

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    return inputs * self.scale


def _build(schema: schema_lib.Schema) -> tf.keras.Model:
  return registry.get_task(schema.task).build(schema, 8, unroll=True, batch_size=1)


class FineTuningTest(parameterized.TestCase):
  def test_layers_without_support_are_named(self) -> None:
    with self.assertRaisesRegex(
      ValueError,
      '^Expected layers that quantization-aware training supports, found embedding of kind Embedding, gru of kind RNN '
      'of GRUCell: take int8 or dynamic_range',
    ):
      qat.QuantizationAware().convert(_build(fakes.CHARACTERS), fakes.make_examples())
    with self.assertRaisesRegex(ValueError, 'found convolution_0 of kind Conv1D, convolution_1 of kind Conv1D: take'):
      qat.QuantizationAware().convert(_build(_WINDOWS), fakes.make_examples(_WINDOWS))

  @parameterized.product(schema=(fakes.CHARACTERS, fakes.HANDWRITING, _WINDOWS, _TABLE), variant=_ALL[1:])
  def test_built_in_models_are_supported(self, schema: schema_lib.Schema, variant: fine_tuning.FineTuned) -> None:
    variant.check_layers(_build(schema))

  @parameterized.parameters(*_ALL)
  def test_a_layer_of_ones_own_is_named(self, variant: fine_tuning.FineTuned) -> None:
    inputs = tf.keras.Input([4], 1)
    model = tf.keras.Model(inputs, _Scale(name='mine')(tf.keras.layers.Dense(4)(inputs)))
    with self.assertRaisesRegex(ValueError, f'that {variant.technique} supports, found mine of kind _Scale: take'):
      variant.convert(model, fakes.make_examples(_TABLE))

  def test_needs_examples(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected examples, found none'):
      pruned.Pruned().convert(_build(_TABLE), None)

  def test_another_batch_size_has_the_same_weights(self) -> None:
    model = _build(fakes.CHARACTERS)
    copy = fine_tuning.rebuild(model, None)
    self.assertEqual((copy.input.shape[0], copy.input.name, copy.input.dtype), (None, 'characters', tf.int32))
    codes = fakes.make_examples(count=2).features
    np.testing.assert_allclose(copy(codes)[:1], model(codes[:1]), atol=1e-6)
    np.testing.assert_allclose(fine_tuning.rebuild(copy, 1)(codes[1:]), copy(codes)[1:], atol=1e-6)

  def test_ranges_are_those_of_all_batches(self) -> None:
    inputs = tf.keras.Input([2], name='given')
    model = tf.keras.Model(inputs, tf.keras.layers.ReLU(name='cut')(inputs))
    features = np.zeros((3 * fine_tuning.BATCH_SIZE + 5, 2), np.float32)
    features[1, 0], features[-1, 1], features[40, 0] = -3, 7, 2
    with mock.patch.object(
      tf.keras.Model, 'predict_on_batch', autospec=True, side_effect=tf.keras.Model.predict_on_batch
    ) as predict:
      ranges = qat.measure_ranges(model, features)
    self.assertEqual(ranges, {'given': (-3.0, 7.0), 'cut': (0.0, 7.0)})
    self.assertEqual([len(call.args[1]) for call in predict.call_args_list], [32, 32, 32, 5])

  @parameterized.parameters('clustered', 'pruned')
  def test_a_recurrent_model(self, name: str) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir, fakes.CHARACTERS, 24)
    # In a process of its own: it makes all operations deterministic.
    content = guard.call(guard.Limits(), tflite.convert, run_dir, name, None, fakes.make_examples())
    interpreter = litert.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    self.assertEqual((given['shape_signature'].tolist(), given['dtype']), ([1, 12], np.int32))
    self.assertEqual(returned['shape_signature'].tolist(), [1, 12, 20])


if __name__ == '__main__':
  absltest.main()
