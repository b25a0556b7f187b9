"""The compressions by name. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Sequence

from common import options as options_lib
from tff_tasks.compression import base
from tff_tasks.compression import quantization

QUANTIZATION = 'quantization'
COMPRESSIONS: dict[str, type[base.Compression]] = {QUANTIZATION: quantization.Quantization}
_CHECK = options_lib.derives('a compression', base.Compression)


def build(name: str, options: Sequence[str], quantization_bits: int) -> base.Compression | None:
  """Returns a compression with its options; None if updates are sent whole.

  Args:
    name: A key of `COMPRESSIONS`, or `package.module:attribute`.
    options: Each `name=value`.
    quantization_bits: Of `quantization`, which has no other options; 0: none.

  Raises:
    ValueError: If there is no such compression, or its options are not these.
  """
  if name != QUANTIZATION:
    return options_lib.build_named('--compression', name, COMPRESSIONS, _CHECK, options)
  if options:
    raise ValueError(
      f'Expected no --compression_options with --compression={name}, found {", ".join(options)}: leave them out, and '
      'set --quantization_bits.'
    )
  return quantization.Quantization(quantization_bits) if quantization_bits else None
