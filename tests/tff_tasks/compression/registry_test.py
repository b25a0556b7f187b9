"""Tests of finding compressions."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks.compression import base
from tff_tasks.compression import codec
from tff_tasks.compression import quantization
from tff_tasks.compression import registry


@dataclasses.dataclass(frozen=True)
class Stranger:
  """Has the method but does not derive from Compression."""

  def build(self, dimension: int, clip_norm: float) -> base.Encoding:
    return codec.Codec(dimension, clip_norm, 8)


@dataclasses.dataclass(frozen=True)
class Idle(base.Compression):
  """Has no method."""


class RegistryTest(parameterized.TestCase):
  def test_built_in_ones(self) -> None:
    self.assertEqual(registry.build('quantization', [], 4), quantization.Quantization(4))
    self.assertIsNone(registry.build('quantization', [], 0))

  @parameterized.parameters(
    ('quant', [], 'Expected --compression to be one of quantization, found'),
    ('json:dumps', [], "Expected a frozen dataclass, found 'json:dumps'"),
    (f'{__name__}:Stranger', [], "found '.*:Stranger': derive it from Compression"),
    (f'{__name__}:Idle', [], "found '.*:Idle': derive it from Compression .* and add the method build"),
    ('quantization', ['bits=4'], 'Expected no --compression_options .* leave them out, and set --quantization_bits'),
  )
  def test_refuses(self, name: str, options: list[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.build(name, options, 8)


if __name__ == '__main__':
  absltest.main()
