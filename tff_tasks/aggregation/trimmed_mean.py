"""The mean of each coordinate without its smallest and largest values (Yin et al. 2018, arXiv 1803.01498, def. 2)."""

import dataclasses
from typing import Any

from tff_tasks.aggregation import row_aggregation

# So that a share times a number of clients that is whole is not rounded up to the next one.
_SLACK = 1e-9


@dataclasses.dataclass(frozen=True)
class TrimmedMean(row_aggregation.RowAggregation):
  """Withstands this share of clients that send anything.

  Attributes:
    share: Of the clients, removed at either end of each coordinate: rounded up to whole clients, and at most so many
      that one or two remain, whose mean is the median.
  """

  share: float

  def __post_init__(self) -> None:
    if not 0 <= self.share < 0.5:
      raise ValueError(
        f'Expected share of at least 0 and below 0.5, found {self.share:g}: give --aggregation_options=share=0.2.'
      )

  def combine(self, rows: Any) -> Any:
    import tensorflow as tf

    count = tf.shape(rows)[0]
    trimmed = tf.cast(tf.math.ceil(self.share * tf.cast(count, tf.float64) - _SLACK), tf.int32)
    trimmed = tf.minimum(trimmed, (count - 1) // 2)
    return tf.reduce_mean(tf.sort(rows, 0)[trimmed : count - trimmed], 0)
