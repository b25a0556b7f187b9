"""What aggregations are made of: a frozen dataclass whose fields are options, and a TFF factory.

Most aggregations look at the updates of a round all together: see `row_aggregation.RowAggregation`, with an example.
Others are a `Builder`. Neither has noise: how far one client can move their result is not known, so only the mean can
be private.

The built-in ones import TensorFlow only in methods: options are checked before it is loaded.
"""

from typing import TYPE_CHECKING, Protocol

from tff_tasks.compression import registry as compressions

if TYPE_CHECKING:
  import tensorflow_federated as tff

  from tff_tasks import config as config_lib


class Builder(Protocol):
  """An aggregation of any TFF parts: a frozen dataclass with this method.

  Its fields are options: each an int, float, bool or str.

  It may have a method `check(config)` as well, which raises a `ValueError` if the aggregation does not work with other
  flags of a run.
  """

  def build(self) -> 'tff.aggregators.WeightedAggregationFactory | tff.aggregators.UnweightedAggregationFactory':
    """Returns the factory, such as `tff.learning.robust_aggregator()`.

    Its values are tuples of float32 tensors: updates that are clipped already, if there is a clip. Its weights are
    float32: 0 for an update that is not finite, which is sent as zeros; else 1, or with `--weighting=examples` the
    number of examples. A factory without weights cannot tell such an update from another one of zeros.
    """


def refuse_noise(name: str, config: 'config_lib.Config') -> None:
  """Raises a ValueError if a config asks for noise or for compression, which only the mean has.

  Args:
    name: Of the aggregation.
    config: The config.
  """
  if config.asks_for_noise:
    raise ValueError(
      f'Expected no noise with --aggregation={name}, found some: how far one client can move its result is not known; '
      'set --aggregation=mean, or --noise_multiplier=0 --target_epsilon=0.'
    )
  if config.compression != compressions.QUANTIZATION:
    raise ValueError(
      f'Expected --compression={compressions.QUANTIZATION} with --aggregation={name}, found {config.compression}: only '
      'sums are compressed; set it so with --quantization_bits=0, or --aggregation=mean.'
    )
  if config.quantization_bits:
    raise ValueError(
      f'Expected --quantization_bits=0 with --aggregation={name}, found {config.quantization_bits}: only sums are '
      'quantized; set it so, or --aggregation=mean.'
    )


def refuse_weights(name: str, config: 'config_lib.Config') -> None:
  """Raises a ValueError if a config weights clients by their examples, for an aggregation that has no weights."""
  if config.weighting != 'uniform':
    raise ValueError(
      f'Expected --weighting=uniform with --aggregation={name}, found {config.weighting}: it takes no weights; set it '
      'so, or --aggregation=mean.'
    )
