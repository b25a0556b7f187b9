"""Tests that the built-in compression is the codec of its bits."""

from absl.testing import absltest

from tff_tasks.compression import codec
from tff_tasks.compression import quantization


class QuantizationTest(absltest.TestCase):
  def test_is_the_codec_of_its_bits(self) -> None:
    self.assertEqual(quantization.Quantization(4).build(50, 0.3), codec.Codec(50, 0.3, 4))
    self.assertEqual(quantization.Quantization(4).describe(), 'rounded to 4 bits')


if __name__ == '__main__':
  absltest.main()
