"""The built-in compression: random rounding of a rotated update to a few bits a coordinate, see `codec`."""

import dataclasses

from tff_tasks.compression import base


@dataclasses.dataclass(frozen=True)
class Quantization(base.Compression):
  """Rounds to `bits` bits a coordinate, of --quantization_bits: 2 to 16."""

  bits: int = 8

  def build(self, dimension: int, clip_norm: float) -> base.Encoding:
    from tff_tasks.compression import codec

    return codec.Codec(dimension, clip_norm, self.bits)

  def describe(self) -> str:
    return f'rounded to {self.bits} bits'
