"""Krum and multi-Krum: the updates that are nearest to the others (Blanchard et al. 2017, arXiv 1703.02757)."""

import dataclasses
from typing import Any

from tff_tasks.aggregation import row_aggregation


@dataclasses.dataclass(frozen=True)
class Krum(row_aggregation.RowAggregation):
  """The update with the smallest sum of squared distances to its nearest others, or the mean of several such ones.

  An update is compared with its `clients - byzantine - 2` nearest others. A round of fewer than `2 * byzantine + 3`
  clients changes nothing.

  Attributes:
    byzantine: The most clients of a round that may send anything.
    selected: How many updates the mean is made of, at most `clients - byzantine - 2`: 1 is Krum, more is multi-Krum.
  """

  byzantine: int
  selected: int = 1

  def __post_init__(self) -> None:
    for name, least in (('byzantine', 0), ('selected', 1)):
      if (found := getattr(self, name)) < least:
        raise ValueError(
          f'Expected {name} of at least {least}, found {found}: give --aggregation_options=byzantine=1,selected=1.'
        )

  @property
  def fewest_clients(self) -> int:
    """The fewest clients of a round that the paper's proposition 4.2 is about."""
    return 2 * self.byzantine + 3

  def check(self, config: Any) -> None:
    if config.clients_per_round < self.fewest_clients:
      raise ValueError(
        f'Expected --clients_per_round of at least {self.fewest_clients} for {self}, found '
        f'{config.clients_per_round}: with fewer, no round changes the model; ask for more clients.'
      )

  def combine(self, rows: Any) -> Any:
    import tensorflow as tf

    count = tf.shape(rows)[0]
    return tf.cond(count < self.fewest_clients, lambda: tf.zeros_like(rows[0]), lambda: self._select(rows))

  def _select(self, rows: Any) -> Any:
    import tensorflow as tf

    # Differences instead of products: a client that sends large numbers takes no digits from the others' distances.
    distances = tf.map_fn(lambda row: tf.reduce_sum(tf.square(rows - row), 1), rows, parallel_iterations=1)
    most = tf.shape(rows)[0] - self.byzantine - 2
    # The nearest one is the update itself.
    neighbours = tf.sort(distances, 1)[:, 1 : most + 1]
    scores = tf.reduce_sum(neighbours, 1)
    # Two that are nearest to each other may have the same score: the shorter first, whatever the order of the rows.
    by_norm = tf.argsort(tf.reduce_sum(tf.square(rows), 1), stable=True)
    order = tf.gather(by_norm, tf.argsort(tf.gather(scores, by_norm), stable=True))
    return tf.reduce_mean(tf.gather(rows, order[: tf.minimum(self.selected, most)]), 0)
