"""What turns the rows of clients into examples: one class per kind of example, none of which knows Beam or files."""

import abc
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import schema as schema_lib
from pipelines.learning import base as learning
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib


class Examples(NamedTuple):
  """What was made of the rows of some clients, the clients in the same order.

  Attributes:
    features: `[n, *feature.shape]`.
    labels: `[n, *label.shape]`.
    starts: int64 `[clients + 1]`: the examples of client `c` are `starts[c]` to `starts[c + 1]`, in their order.
    first_row: int64 `[n]`: the first row of the table that an example draws on.
    last_row: int64 `[n]`: the last one.
    unknown: int64 `[n]`: how many of an example's values stand for something outside the alphabet or vocabulary; None
      if there is none.
  """

  features: np.ndarray
  labels: np.ndarray
  starts: np.ndarray
  first_row: np.ndarray
  last_row: np.ndarray
  unknown: np.ndarray | None = None


class Featurizer(abc.ABC):
  """Makes examples of `schema` from rows of `columns`.

  Featurizers are frozen dataclasses: their fields are what a declaration may say in `[examples]`, and a field that does
  not fit raises a ValueError in `__post_init__`.
  """

  @property
  @abc.abstractmethod
  def schema(self) -> schema_lib.Schema:
    """What an example holds. Not known before `learner` has been asked, if there is one."""

  @property
  @abc.abstractmethod
  def columns(self) -> tuple[columns_lib.Column, ...]:
    """The columns of a row that examples are made of, and how to read them."""

  @property
  def provenance(self) -> list[dict[str, Any]]:
    """What the examples rest on besides the client's own rows (vocabulary, scaling, classes), as manifest entries."""
    return []

  @property
  def learner(self) -> learning.Learner | None:
    """What has to be learned from the users' data first, if anything."""
    return None

  def with_learned(self, value: Any) -> 'Featurizer':
    """Returns this featurizer with what its `learner` released filled in."""
    raise NotImplementedError(f'{type(self).__name__} learns nothing, and was given {value!r:.80}.')

  def weigh(self, rows: pa.Table) -> np.ndarray | None:
    """Returns int64 `[rows]`, how much each row adds towards `weight_needed`; None if each adds 1."""
    del rows
    return None

  @abc.abstractmethod
  def weight_needed(self, examples: int) -> int:
    """Returns how much the rows of a client have to weigh, from its first, for so many examples."""

  @abc.abstractmethod
  def featurize(self, rows: rows_lib.ClientRows) -> Examples:
    """Makes all examples that the rows give."""
