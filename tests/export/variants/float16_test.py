"""Tests what a float16 file stores; parity_test tests what it answers."""

from absl.testing import absltest
import pytest

from tests.export import converted


class Float16Test(absltest.TestCase):
  @pytest.mark.slow
  def test_stores_all_weights_in_16_bits(self) -> None:
    stored, size = converted.count_stored('float16', *converted.LARGE)
    whole, whole_size = converted.count_stored('float32', *converted.LARGE)
    self.assertGreater(stored['float16'], 0.99 * whole['float32'])
    self.assertEqual(stored['int8'], 0)
    self.assertBetween(size / whole_size, 0.45, 0.6)


if __name__ == '__main__':
  absltest.main()
