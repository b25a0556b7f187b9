"""Tests of the form that all files have; parity_test and exporter_test test what they answer."""

import tempfile
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import schema as schema_lib
from export import flex
from export import parity
from export import tflite
from export.metadata import facts as facts_lib
from export.metadata import packing
from export.variants import float32
from export.variants import registry as variants
from models import registry
from models import unsupported
from tests.export import converted
from tests.export import fakes

# The tests of those that learn convert with examples.
_WHOLE = tuple(
  name for name, variant in variants.VARIANTS.items() if variant.form == 'whole' and name not in variants.LEARNING
)


class _NoBytes(float32.Float32):
  name = 'no_bytes'

  def convert(self, model: Any, calibration: Any) -> Any:
    return model.name


class _NeedsFlex(float32.Float32):
  name = 'needs_flex'

  def convert(self, model: Any, calibration: Any) -> bytes:
    import tensorflow as tf

    inputs = tf.keras.Input((4, 4), batch_size=1)
    return super().convert(tf.keras.Model(inputs, tf.linalg.inv(inputs)), calibration)


class TfliteTest(parameterized.TestCase):
  @parameterized.product(schema=(fakes.CHARACTERS, fakes.HANDWRITING), variant=_WHOLE)
  def test_takes_one_example_and_gives_floats(self, schema: schema_lib.Schema, variant: str) -> None:
    interpreter = converted.interpret(variant, schema)
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    self.assertEqual(tuple(given['shape_signature']), (1, *schema.feature.shape))
    self.assertEqual(tuple(returned['shape_signature']), (1, *schema.label.shape, schema.num_classes))
    self.assertEqual(returned['dtype'].__name__, 'float32')

  def test_recurrent_layers_are_unrolled(self) -> None:
    names = {op['op_name'] for op in converted.interpret('float32')._get_ops_details()}
    self.assertIn('LOGISTIC', names)
    self.assertEmpty({'WHILE', 'UNIDIRECTIONAL_SEQUENCE_LSTM', 'CALL_ONCE', 'VAR_HANDLE'} & names)

  def test_quickstart_size(self) -> None:
    """The length and width of the embedded task, whose unrolled graph is large."""
    feature, label = (schema_lib.Feature(name, 'int32', (80,)) for name in ('characters', 'next_characters'))
    schema = schema_lib.Schema('next_character', feature, label, tuple(map(chr, range(32, 112))))
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir, schema, registry.get_task('next_character').default_size)
    self.assertBetween(len(converted.convert(run_dir, 'float32')), 80_000, 400_000)

  def test_a_variant_has_to_return_bytes(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir)
    with (
      mock.patch.dict(variants.VARIANTS, {'no_bytes': _NoBytes()}),
      self.assertRaisesRegex(ValueError, 'Expected convert of no_bytes to return bytes, found a str: return converter'),
    ):
      tflite.convert(run_dir, 'no_bytes')

  def test_operations_that_no_device_has_are_named(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir)
    with (
      mock.patch.dict(variants.VARIANTS, {'needs_flex': _NeedsFlex()}),
      self.assertRaisesRegex(ValueError, 'every device runtime has, found MatrixInverse, which .* or add --allow_flex'),
    ):
      tflite.convert(run_dir, 'needs_flex')

  def test_the_layers_of_such_operations_are_named(self) -> None:
    import tensorflow as tf

    inputs = tf.keras.Input((4, 4), batch_size=1)
    model = tf.keras.Model(inputs, tf.keras.layers.Lambda(tf.linalg.inv, name='inverse')(inputs))
    with self.assertRaisesRegex(ValueError, r'found MatrixInverse \(layer inverse\), which only'):
      tflite._convert(float32.Float32(), model, None)

  def test_operations_that_no_device_has_if_they_are_allowed(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir)
    path = self.create_tempfile().full_path
    with mock.patch.dict(variants.VARIANTS, {'needs_flex': _NeedsFlex()}):
      facts = facts_lib.Facts('mine', 'f00d', {'schema': fakes.CHARACTERS.to_json()})
      content = tflite.convert(run_dir, 'needs_flex', allow_flex=True, facts=facts)
      assert isinstance(content, bytes)
      self.assertEqual(packing.read_standard(content).name, b'next_character on mine')
      with open(path, 'wb') as file:
        file.write(content)
      features = np.array([2 * np.eye(4) + 0.1], np.float32)
      answers, summary = tflite.check(path, features, 'needs_flex', allow_flex=True)
      # However it was made: a variant of one's own may set the operations of its converter.
      with self.assertRaisesRegex(ValueError, 'found MatrixInverse, which .* or add --allow_flex'):
        tflite.check(path, features, 'needs_flex')
    np.testing.assert_allclose(answers.logits, np.linalg.inv(features), rtol=1e-4)
    self.assertEndsWith(
      summary,
      '; LiteRT alone cannot run it: it needs the kernels of TensorFlow (Flex) for MatrixInverse, and was checked with '
      'TensorFlow',
    )

  def test_a_model_without_the_form_of_a_variant(self) -> None:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir, fakes.HANDWRITING)
    found = tflite.convert(run_dir, 'step_dynamic_range')
    assert isinstance(found, unsupported.Unsupported)
    self.assertStartsWith(str(found), 'Expected examples that have a label for each position')

  def test_what_a_variant_says_of_its_file(self) -> None:
    answers = parity.Answers(np.zeros((1, 3)), [], {'float32': 7, 'int8': 0, 'float16': 0})
    self.enterContext(mock.patch.object(parity, 'tflite_answers', return_value=answers))
    self.enterContext(mock.patch.object(flex, 'find', return_value=[]))
    self.assertEqual(
      tflite.check('file', np.zeros((1, 2)), 'float32'),
      (answers, 'full precision: all 7 stored values (weights and constants) are float32'),
    )
    with (
      mock.patch.object(float32.Float32, 'describe', return_value=None),
      self.assertRaisesRegex(
        ValueError, 'Expected describe of float32 to return a str, found a NoneType: return a phr'
      ),
    ):
      tflite.check('file', np.zeros((1, 2)), 'float32')


if __name__ == '__main__':
  absltest.main()
