"""Tests that the integers of int8_io stand for the numbers of int8."""

from absl.testing import absltest
import numpy as np
import pytest

from tests.export import converted
from tests.export import fakes


class Int8InOutTest(absltest.TestCase):
  @pytest.mark.slow
  def test_an_image_is_its_bytes(self) -> None:
    features = fakes.make_examples(fakes.HANDWRITING, 5).features
    answers = converted.answer('int8_io', *converted.LARGE, features)
    self.assertEqual([row[2] for row in answers.signature], ['int8', 'int8'])
    self.assertCountEqual(answers.quantized, ['input', 'output'])
    given = answers.quantized['input']
    # The examples reach from 0 to 9, which stand for the lightest and the darkest ink that was seen.
    self.assertEqual(given.zero_point, -128)
    self.assertAlmostEqual(given.scale, 9 / 255, delta=1e-4)
    expected = converted.answer('int8', *converted.LARGE, features)
    self.assertEqual(expected.quantized, {})
    step = answers.quantized['output'].scale
    self.assertLessEqual(np.abs(answers.logits - expected.logits).max(), 1.001 * step)

  @pytest.mark.slow
  def test_codes_stay_codes(self) -> None:
    answers = converted.answer('int8_io', *converted.SMALL, fakes.make_examples(count=3).features)
    self.assertEqual([row[2] for row in answers.signature], ['int32', 'int8'])
    self.assertCountEqual(answers.quantized, ['output'])
    self.assertEqual(answers.logits.shape, (3, 12, 20))


if __name__ == '__main__':
  absltest.main()
