"""The mean over the clients that a round expects: the only aggregation with noise and with quantization."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Mean:
  """Clipped, quantized, summed, noised and divided as the privacy plan says: see `private_mean`."""
