"""Flags of how updates travel and are combined."""

from absl import flags

from tff_tasks import config as config_lib
from tff_tasks.aggregation import registry as aggregations
from tff_tasks.compression import registry as compressions

TOPIC = 'Combining the updates'
FLAGS = [
  flags.DEFINE_string(
    'aggregation',
    'mean',
    f'How the updates of a round are combined: {", ".join(aggregations.AGGREGATIONS)}, or one of your own as '
    'package.module:attribute (docs/extend.md). Only mean with noise or --quantization_bits above 0.',
  ),
  flags.DEFINE_list(
    'aggregation_options',
    [],
    'Options of the aggregation: share=0.2 for trimmed_mean; byzantine=2,selected=1 for krum.',
  ),
  flags.DEFINE_enum(
    'weighting',
    'uniform',
    list(config_lib.WEIGHTINGS),
    'How clients count in the mean. uniform: all the same; examples: by the examples that they trained on, as in the '
    'FedAvg of the paper. With noise only uniform.',
  ),
  flags.DEFINE_string(
    'compression',
    compressions.QUANTIZATION,
    'How an update becomes integers before it is sent: quantization, with --quantization_bits, or one of your own as '
    'package.module:attribute (docs/extend.md). Only for the mean.',
  ),
  flags.DEFINE_list('compression_options', [], 'Options of a compression of your own: a=1,b=2.'),
  flags.DEFINE_integer(
    'quantization_bits',
    8,
    'Bits of each coordinate of an uploaded update, 2 to 16; 0: 32 bits (floats, or integers if there is noise). For '
    '--compression=quantization; one of your own does not use it.',
    lower_bound=0,
    upper_bound=16,
  ),
]


@flags.validator('quantization_bits', 'Expected 0 or 2 to 16.')
def _is_quantization_possible(bits: int) -> bool:
  return bits != 1
