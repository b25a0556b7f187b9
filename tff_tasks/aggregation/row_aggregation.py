"""Aggregations that look at the updates of a round all together, as rows of a matrix: medians and the like.

One of your own is a class such as this, in a module that can be imported. It is the midpoint of the smallest and the
largest value of each coordinate. `--aggregation=my_package.my_module:Midpoint` trains with it:

    import dataclasses
    import tensorflow as tf
    from tff_tasks.aggregation import row_aggregation

    @dataclasses.dataclass(frozen=True)
    class Midpoint(row_aggregation.RowAggregation):
      def combine(self, rows):
        return (tf.reduce_min(rows, 0) + tf.reduce_max(rows, 0)) / 2

The rows of a round are in memory together, some times over: clients times weights times four bytes.
"""

import abc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  import tensorflow_federated as tff


class RowAggregation(abc.ABC):
  """A frozen dataclass that derives from this: a `base.Builder`, so it may have a method `check` as well."""

  @abc.abstractmethod
  def combine(self, rows: Any) -> Any:
    """Returns what the server takes for the mean update, in TensorFlow: float32 `[weights]`.

    Args:
      rows: float32 `[clients, weights]`: the updates of a round, all finite and within the clip. There is at least one.
        Their order means nothing.
    """

  def build(self) -> 'tff.aggregators.WeightedAggregationFactory':
    """Returns the factory that gathers the updates and combines those whose weight is above zero."""
    from tff_tasks.aggregation import row_factory

    return row_factory.RowFactory(self.combine)
