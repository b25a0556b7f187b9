"""What a client says of itself in a round, and what it keeps for the next one: one row a client."""

from typing import Any, NamedTuple, TypeVar

import numpy as np

_Rows = TypeVar('_Rows', 'ClientReport', 'ClientMemory')


class ClientTag(NamedTuple):
  """What travels beside a client's update: no part of the update, and nothing of it is summed.

  Attributes:
    index: int32, of the client in the training split.
    examples: int32, that it trained on.
    rounding_seed: int32 `[2]`, for the stochastic rounding of its update.
  """

  index: Any
  examples: Any
  rounding_seed: Any


class ClientReport(NamedTuple):
  """What became of the update of each client; arrays of as many rows as clients took part.

  Attributes:
    index: int32, of the client in the training split.
    examples: int32, that it trained on.
    accepted: bool, whether the update was finite. One that was not counts as zero.
    norm: float32, the L2 norm of the update before clipping; 0 if it was not accepted.
  """

  index: Any
  examples: Any
  accepted: Any
  norm: Any


class ClientMemory(NamedTuple):
  """What clients keep for the next round that they take part in; arrays of as many rows as clients took part.

  Attributes:
    index: int32, of the client in the training split.
    values: float32 `[clients, size]`.
  """

  index: Any
  values: Any


def find(metrics: Any, kind: type[_Rows]) -> _Rows | None:
  """Returns the rows of a kind in the metrics of a round, ordered by client; None if there are none.

  Args:
    metrics: Nested dictionaries and tuples.
    kind: `ClientReport` or `ClientMemory`.
  """
  if isinstance(metrics, kind):
    order = np.argsort(metrics.index, kind='stable')
    return kind(*(np.asarray(column)[order] for column in metrics))
  if isinstance(metrics, dict):
    metrics = tuple(metrics.values())
  if not isinstance(metrics, tuple | list):
    return None
  return next((found for found in (find(value, kind) for value in metrics) if found is not None), None)
