"""Tests what is said of operations that no device has; tflite_test converts and runs some."""

from absl.testing import absltest
from ai_edge_litert import interpreter as litert
import pytest

from export import flex
from tests.export import converted

_MESSAGE = """error: failed while converting: 'main':
Some ops are not supported by the native TFLite runtime, you can enable TF kernels fallback using TF Select.
TF Select ops: Erf, MatrixInverse
Details:
"""


class FlexTest(absltest.TestCase):
  def test_are_allowed_only_meanwhile(self) -> None:
    self.assertFalse(flex.is_allowed())
    with flex.allowing(True):
      self.assertTrue(flex.is_allowed())
      with flex.allowing(False):
        self.assertFalse(flex.is_allowed())
    self.assertFalse(flex.is_allowed())

  def test_names_what_is_missing(self) -> None:
    found = 'found Erf, MatrixInverse, which only the kernels of TensorFlow (Flex) compute: replace the layers that use'
    missing = flex.describe_missing(_MESSAGE)
    self.assertIn(found, missing)
    self.assertEndsWith(missing, ' them, or add --allow_flex if your app has these kernels.')
    with flex.allowing(True):  # Others are missing, which no flag brings.
      self.assertEndsWith(flex.describe_missing(_MESSAGE), ' them.')
    self.assertEqual(flex.describe_missing('error: out of memory'), '')
    self.assertEqual(flex.find_missing(_MESSAGE), ['Erf', 'MatrixInverse'])
    self.assertEmpty(flex.find_missing('error: out of memory'))

  def test_no_flag_brings_kernels_for_custom_operations(self) -> None:
    missing = flex.describe_missing('error:\nCustom ops: MyOp\nDetails:\n')
    self.assertEndsWith(
      missing, 'found MyOp, which LiteRT and TensorFlow have no kernels for: replace the layers that use them.'
    )
    missing = flex.describe_missing(_MESSAGE + 'Custom ops: MyOp\n')
    self.assertIn('found Erf, MatrixInverse, which only the kernels of TensorFlow (Flex) compute and MyOp, wh', missing)
    self.assertEndsWith(missing, 'replace the layers that use them.')

  @pytest.mark.slow
  def test_a_file_without_them_is_run_as_a_device_does(self) -> None:
    path = self.create_tempfile(content=converted.make('float32', *converted.SMALL), mode='wb').full_path
    self.assertEqual((flex.find(path), flex.describe(path)), ([], ''))
    self.assertIsInstance(flex.open_interpreter(path), litert.Interpreter)


if __name__ == '__main__':
  absltest.main()
