"""Tests what a float32 file stores; parity_test tests what it answers."""

from absl.testing import absltest
import pytest

from export.variants import float32
from tests.export import converted


class Float32Test(absltest.TestCase):
  @pytest.mark.slow
  def test_stores_the_weights_as_they_are(self) -> None:
    stored, _ = converted.count_stored('float32', *converted.LARGE)
    self.assertEqual((stored['int8'], stored['float16']), (0, 0))
    self.assertGreater(stored['float32'], 20_000)

  def test_describes_itself(self) -> None:
    self.assertEqual(
      float32.Float32().describe({'int8': 0, 'float16': 0, 'float32': 1_065}),
      'full precision: all 1,065 stored values (weights and constants) are float32',
    )


if __name__ == '__main__':
  absltest.main()
