"""Tests of what the converted files hold; parity_test and exporter_test hold what they answer."""

import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import interpreter as litert

from contracts import schema as schema_lib
from export import tflite
from models import registry
from tests.export import fakes


class TfliteTest(parameterized.TestCase):
  def _interpreter(self, schema: schema_lib.Schema, variant: str, model_size: int = 8) -> litert.Interpreter:
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir, schema, model_size)
    interpreter = litert.Interpreter(model_content=tflite.convert(run_dir, variant))
    interpreter.allocate_tensors()  # Fails on an operation that is not built in.
    return interpreter

  @parameterized.product(schema=(fakes.CHARACTERS, fakes.HANDWRITING), variant=tuple(tflite.VARIANTS))
  def test_takes_one_example_and_gives_floats(self, schema: schema_lib.Schema, variant: str) -> None:
    interpreter = self._interpreter(schema, variant)
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    self.assertEqual(tuple(given['shape_signature']), (1, *schema.feature.shape))
    self.assertEqual(tuple(returned['shape_signature']), (1, *schema.label.shape, schema.num_classes))
    self.assertEqual(returned['dtype'].__name__, 'float32')

  def test_recurrent_layers_are_unrolled(self) -> None:
    names = {op['op_name'] for op in self._interpreter(fakes.CHARACTERS, 'float32')._get_ops_details()}
    self.assertIn('LOGISTIC', names)
    self.assertEmpty({'WHILE', 'UNIDIRECTIONAL_SEQUENCE_LSTM', 'CALL_ONCE', 'VAR_HANDLE'} & names)

  def test_dynamic_range_holds_large_weights_in_8_bits(self) -> None:
    for variant, expected in (('float32', False), ('dynamic_range', True)):
      tensors = self._interpreter(fakes.HANDWRITING, variant, 64).get_tensor_details()
      self.assertEqual(any(tensor['dtype'].__name__ == 'int8' for tensor in tensors), expected, variant)

  def test_quickstart_size(self) -> None:
    """The length and width of the embedded task, whose unrolled graph is large."""
    feature, label = (schema_lib.Feature(name, 'int32', (80,)) for name in ('characters', 'next_characters'))
    schema = schema_lib.Schema('next_character', feature, label, tuple(map(chr, range(32, 112))))
    run_dir = self.enterContext(tempfile.TemporaryDirectory())
    fakes.release(run_dir, schema, registry.get_task('next_character').default_size)
    self.assertBetween(len(tflite.convert(run_dir, 'float32')), 80_000, 400_000)

  def test_summaries_say_what_is_stored(self) -> None:
    everything, most = {'int8': 0, 'float32': 1_065}, {'int8': 21_760, 'float32': 65}
    self.assertEqual(
      tflite.summarize('float32', everything),
      'full precision: all 1,065 stored values (weights and constants) are float32',
    )
    self.assertEqual(
      tflite.summarize('dynamic_range', most),
      'small, the default for phones: of 21,825 stored values (weights and constants) 21,760 are 8-bit integers, the '
      'others float32',
    )
    self.assertStartsWith(
      tflite.summarize('dynamic_range', everything),
      'all 1,065 stored values (weights and constants) are float32, as in float32: ',
    )

  def test_file_names(self) -> None:
    self.assertEqual(tflite.file_name('handwriting', 'dynamic_range'), 'handwriting_dynamic_range.tflite')


if __name__ == '__main__':
  absltest.main()
