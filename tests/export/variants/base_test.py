"""Tests what all variants have, and the example in its description as a user would write it."""

import pathlib
import sys

from absl.testing import absltest
from absl.testing import parameterized
import pytest

from export import parity
from export.variants import base
from export.variants import registry
from tests.export import converted


class _Tiny(base.Variant):
  name = 'tiny'
  summary = 'tiny'
  bounds = parity.Bounds(0.9, None)

  def convert(self, model: object, calibration: object) -> bytes:
    return b''


class BaseTest(parameterized.TestCase):
  @parameterized.parameters(
    ({'float32': 1_065}, 'tiny: all 1,065 stored values (weights and constants) are float32'),
    (
      {'float32': 65, 'int8': 21_760, 'float16': 0},
      'tiny: of 21,825 stored values (weights and constants) 21,760 are 8-bit integers, the others float32',
    ),
    (
      {'float32': 0, 'int8': 0, 'float16': 1_065},
      'tiny: of 1,065 stored values (weights and constants) 1,065 are 16-bit floats',
    ),
    (
      {'float32': 5, 'int8': 1_000, 'float16': 20},
      'tiny: of 1,025 stored values (weights and constants) 1,000 are 8-bit integers and 20 are 16-bit floats, the '
      'others float32',
    ),
  )
  def test_describes_what_is_stored(self, stored: dict[str, int], expected: str) -> None:
    self.assertEqual(_Tiny().describe(stored), expected)

  @pytest.mark.slow
  def test_the_example_in_the_description_converts(self) -> None:
    code = '\n'.join(line[4:] for line in (base.__doc__ or '').splitlines() if line.startswith('    ') or not line)
    folder = self.create_tempdir().full_path
    pathlib.Path(folder, 'my_variants.py').write_text(code)
    sys.path.insert(0, folder)
    self.addCleanup(sys.path.remove, folder)
    self.addCleanup(sys.modules.pop, 'my_variants', None)
    self.assertEqual(registry.find('my_variants:HALF').name, 'half')
    stored, _ = converted.count_stored('my_variants:HALF', *converted.LARGE)
    self.assertGreater(stored['float16'], 20_000)


if __name__ == '__main__':
  absltest.main()
