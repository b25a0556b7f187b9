"""Tests what a dynamic range file stores; parity_test tests what it answers."""

from absl.testing import absltest
import pytest

from export.variants import dynamic_range
from models import registry
from tests.export import converted
from tests.export import fakes


class DynamicRangeTest(absltest.TestCase):
  @pytest.mark.slow
  def test_large_weights_are_in_8_bits(self) -> None:
    stored, _ = converted.count_stored('dynamic_range', *converted.LARGE)
    self.assertGreater(stored['int8'], 20_000)
    small, _ = converted.count_stored('dynamic_range', *converted.SMALL)
    self.assertEqual(small['int8'], 0)

  @pytest.mark.slow
  def test_the_size_of_the_built_in_network_for_images(self) -> None:
    """With the metadata of both files."""
    size = registry.get_task('handwriting').default_size
    small, large = (len(converted.make(name, fakes.HANDWRITING, size)) for name in ('dynamic_range', 'float32'))
    self.assertLess(small, 0.28 * large)

  def test_describes_itself(self) -> None:
    described = dynamic_range.DynamicRange().describe
    self.assertEqual(
      described({'int8': 21_760, 'float16': 0, 'float32': 65}),
      'small, the default for phones: of 21,825 stored values (weights and constants) 21,760 are 8-bit integers, the '
      'others float32',
    )
    self.assertStartsWith(
      described({'int8': 0, 'float16': 0, 'float32': 1_065}),
      'all 1,065 stored values (weights and constants) are float32, as in float32: ',
    )


if __name__ == '__main__':
  absltest.main()
