"""Tests that integers stand for the numbers that a file means by them."""

from absl.testing import absltest
import numpy as np

from export import quantization

_HALVES = quantization.Quantization('int8', 0.5, 3)


class QuantizationTest(absltest.TestCase):
  def test_the_nearest_integer_within_the_range(self) -> None:
    numbers = np.array([0.0, 0.5, -1.0, 0.74, 0.76, 1e9, -1e9], np.float32)
    integers = _HALVES.quantize(numbers)
    self.assertEqual(integers.dtype, np.int8)
    np.testing.assert_array_equal(integers, [3, 4, 1, 4, 5, 127, -128])

  def test_bytes_of_an_image(self) -> None:
    integers = quantization.Quantization('int8', 1.0, -128).quantize(np.array([0, 1, 255], np.uint8))
    np.testing.assert_array_equal(integers, [-128, -127, 127])

  def test_numbers_come_back(self) -> None:
    numbers = _HALVES.dequantize(np.array([3, 4, -128], np.int8))
    self.assertEqual(numbers.dtype, np.float32)
    np.testing.assert_array_equal(numbers, [0.0, 0.5, -65.5])

  def test_what_a_file_says(self) -> None:
    integers = {'dtype': np.int8, 'quantization': (0.5, 3)}
    self.assertEqual(quantization.of(integers), _HALVES)
    self.assertEqual(
      quantization.describe({'input': _HALVES})['input'], {'dtype': 'int8', 'scale': 0.5, 'zero_point': 3}
    )
    self.assertIsNone(quantization.of({'dtype': np.int32, 'quantization': (0.0, 0)}))  # Codes of a vocabulary.
    self.assertIsNone(quantization.of({'dtype': np.float32, 'quantization': (0.0, 0)}))


if __name__ == '__main__':
  absltest.main()
