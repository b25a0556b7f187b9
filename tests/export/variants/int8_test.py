"""Tests that int8 computes with integers only; family_test says how well."""

from absl.testing import absltest
import numpy as np
import pytest

from export.variants import int8
from tests.export import converted


class Int8Test(absltest.TestCase):
  @pytest.mark.slow
  def test_all_inside_is_integers(self) -> None:
    stored, size = converted.count_stored('int8', *converted.LARGE)
    self.assertGreater(stored['int8'], 20_000)
    _, full = converted.count_stored('float32', *converted.LARGE)
    self.assertLess(size, 0.35 * full)
    interpreter = converted.interpret('int8', *converted.LARGE)
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    floats = [each['name'] for each in interpreter.get_tensor_details() if each['dtype'] is np.float32]
    self.assertCountEqual(floats, [given['name'], returned['name']])

  @pytest.mark.slow
  def test_a_recurrent_model_of_codes(self) -> None:
    interpreter = converted.interpret('int8', *converted.SMALL)
    self.assertIs(interpreter.get_input_details()[0]['dtype'], np.int32)
    self.assertIs(interpreter.get_output_details()[0]['dtype'], np.float32)
    floats = [each['name'] for each in interpreter.get_tensor_details() if each['dtype'] is np.float32]
    self.assertLen(floats, 1, floats)  # The logits.

  def test_describes_itself(self) -> None:
    described = int8.Int8().describe({'int8': 21_760, 'float16': 0, 'float32': 0})
    self.assertIn(
      'integers inside, floats in and out, for devices that compute with integers only: of 21,760', described
    )


if __name__ == '__main__':
  absltest.main()
