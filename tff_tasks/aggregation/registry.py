"""The aggregations by name. No TensorFlow: flags are checked before it is loaded."""

from collections.abc import Sequence
from typing import Any

from common import options as options_lib
from tff_tasks import config as config_lib
from tff_tasks.aggregation import base
from tff_tasks.aggregation import krum
from tff_tasks.aggregation import mean
from tff_tasks.aggregation import median
from tff_tasks.aggregation import row_aggregation
from tff_tasks.aggregation import trimmed_mean

AGGREGATIONS: dict[str, Any] = {
  'mean': mean.Mean,
  'median': median.Median,
  'trimmed_mean': trimmed_mean.TrimmedMean,
  'krum': krum.Krum,
}

Aggregation = mean.Mean | base.Builder


def build(name: str, options: Sequence[str] = ()) -> Aggregation:
  """Returns an aggregation with its options.

  Args:
    name: A key of `AGGREGATIONS`, or `package.module:attribute`.
    options: Each `name=value`.

  Raises:
    ValueError: If there is no such aggregation, or its options are not these.
  """
  return options_lib.build_named('--aggregation', name, AGGREGATIONS, _check_kind, options)


def _check_kind(name: str, kind: type) -> None:
  is_built = options_lib.takes(kind, 'build', 0) and not getattr(kind, '__abstractmethods__', None)
  if not is_built and kind is not mean.Mean:
    raise ValueError(
      f'Expected an aggregation, found {name!r}: derive it from RowAggregation '
      '(tff_tasks/aggregation/row_aggregation.py) and add the method combine, or add the method build that '
      'tff_tasks/aggregation/base.py shows.'
    )


def check(config: config_lib.Config) -> None:
  """Checks that the aggregation of a config exists, takes its options, and works with the other flags.

  Raises:
    ValueError: If it does not.
  """
  name = config.aggregation
  aggregation = build(name, config.aggregation_options)
  if isinstance(aggregation, mean.Mean):
    return
  base.refuse_noise(name, config)
  if not _takes_weights(name, aggregation):
    base.refuse_weights(name, config)
  config.check(aggregation)


def _takes_weights(name: str, aggregation: base.Builder) -> bool:
  if isinstance(aggregation, row_aggregation.RowAggregation):
    return False
  from tff_tasks.aggregation import factory_process

  return factory_process.takes_weights(name, aggregation.build())
