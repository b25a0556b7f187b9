"""The median of each coordinate (Yin et al. 2018, arXiv 1803.01498, definition 1)."""

import dataclasses
from typing import Any

from tff_tasks.aggregation import row_aggregation


@dataclasses.dataclass(frozen=True)
class Median(row_aggregation.RowAggregation):
  """Half of the clients, less one, can send anything: each coordinate stays between those of the others."""

  def combine(self, rows: Any) -> Any:
    import tensorflow as tf

    count, ordered = tf.shape(rows)[0], tf.sort(rows, 0)
    # Halves first: the sum of two large numbers may be infinite.
    return ordered[(count - 1) // 2] / 2 + ordered[count // 2] / 2
