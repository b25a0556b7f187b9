"""What turns the rows of clients into examples: one class per kind of example, none of which knows Beam or files.

One of your own is a class such as this, in a module that can be imported (`kind = "my_package.my_module:Pairs"`). Its
examples are a number and the one before it:

    import dataclasses
    import numpy as np
    from contracts import schema
    from pipelines.featurizers import base
    from pipelines.rows import columns

    @dataclasses.dataclass(frozen=True)
    class Pairs(base.Featurizer):
      number: str
      label: str
      classes: tuple[str, ...]

      examples_overlap = True  # A number ends one example and begins the next.

      @property
      def schema(self):
        feature, label = schema.Feature('numbers', 'float32', (2,)), schema.Feature('label', 'int32', ())
        return schema.Schema('classification', feature, label, self.classes)

      @property
      def columns(self):
        label = columns.Column(self.label, columns.Category(self.classes))
        return (columns.Column(self.number, columns.Number()), label)

      def weight_needed(self, examples):
        return examples + 1

      def featurize(self, rows):
        # Every row but the first of each client is the last of an example.
        last = np.setdiff1d(np.arange(rows.table.num_rows), rows.starts)
        numbers = rows.table[self.number].to_numpy().astype(np.float32)
        features = np.stack([numbers[last - 1], numbers[last]], axis=1)
        labels = rows.table[self.label].to_numpy()[last]
        return base.Examples(features, labels, np.searchsorted(last, rows.starts), last - 1, last)

What it makes is checked by `checks.check_examples`, to the dtype: as a uint8, NumPy would make 44 of 300.
"""

import abc
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib
from pipelines.statistics import base as learning
from pipelines.statistics import vocabulary


class Examples(NamedTuple):
  """What was made of the rows of some clients, the clients in the same order.

  Attributes:
    features: `[n, *feature.shape]`, of the schema's dtype; finite.
    labels: `[n, *label.shape]`, of the schema's dtype: places among its classes, `UNKNOWN_LABEL` where the answer is
      none of them, or `IGNORED_LABEL` where there is no answer.
    starts: int64 `[clients + 1]`: the examples of client `c` are `starts[c]` to `starts[c + 1]`, in their order.
    first_row: int64 `[n]`: the first row that an example draws on, counted from the first one of the table.
    last_row: int64 `[n]`: the last one, inclusive: of an example of one row it is `first_row`.
    unknown: int64 `[n]`: how many of an example's values stand for something outside the alphabet or vocabulary; None
      if there is none.
    positions: int64 `[n]`: how many values an example has that a vocabulary is for; None if there is none.
  """

  features: np.ndarray
  labels: np.ndarray
  starts: np.ndarray
  first_row: np.ndarray
  last_row: np.ndarray
  unknown: np.ndarray | None = None
  positions: np.ndarray | None = None


class Featurizer(abc.ABC):
  """Makes examples of `schema` from rows of `columns`.

  Featurizers are frozen dataclasses: their fields are what a declaration may say in `[examples]`, and a field that does
  not fit raises a ValueError in `__post_init__`. They travel to other processes, so they can be pickled.
  """

  @property
  @abc.abstractmethod
  def schema(self) -> schema_lib.Schema:
    """What an example holds. Not known before `with_learned`, if there is a `learner`.

    Its task is the name of a model in models/registry.py: `next_character`, `next_word`, `next_item` (integers
    `[length]`, a label for each), `handwriting` (uint8 `[height, width]`), `classification` (float32 `[numbers]` or
    `[length, channels]`), or one that you add there. Preprocessing takes any name; training ends with a message if
    there is no such model.
    """

  @property
  @abc.abstractmethod
  def columns(self) -> tuple[columns_lib.Column, ...]:
    """The columns of a row that examples are made of, and how to read them.

    The kinds are those of pipelines/rows/columns.py; the table that `featurize` gets has no nulls, for rows without a
    usable value are refused and counted before:

    * `Text()`: `large_string`.
    * `Id()`: `large_string`.
    * `Number(missing=None)`: `double`, finite as a float32 too.
    * `Category(values)`: `int32`, the place among the values.
    * `Image(height, width)`: `fixed_size_binary[height * width]`, grey, row after row; 0 is black.
    """

  @property
  def provenance(self) -> list[dict[str, Any]]:
    """What the examples rest on besides the client's own rows (vocabulary, scaling, classes), as manifest entries."""
    return []

  @property
  def learner(self) -> learning.Learner | None:
    """What has to be learned from the users' data first, if anything."""
    return None

  @property
  def vocabulary_in_use(self) -> vocabulary.Vocabulary | None:
    """The vocabulary that decides which values are `unknown`, if there is one."""
    return None

  @property
  def examples_overlap(self) -> bool:
    """Whether neighboring examples share content: what is held out must then keep a distance from the rest.

    Not meant is that two of them draw on the same row, each on another part of it.
    """
    return False

  @property
  def row_label(self) -> str | None:
    """The column with the label, a `Category`, where each row is an example of its own; None where it is not.

    Such rows can be split into simulated clients by their label.
    """
    return None

  @property
  def rows_stand_alone(self) -> bool:
    """Whether a row means the same whatever rows are beside it, as a text or an image does, and a reading does not.

    Such rows can be split evenly into simulated clients.
    """
    return self.row_label is not None

  def with_learned(self, value: Any) -> 'Featurizer':
    """Returns this featurizer with what its `learner` released filled in."""
    raise NotImplementedError(f'{type(self).__name__} learns nothing, and was given {value!r:.80}.')

  def weigh(self, rows: pa.Table) -> np.ndarray | None:
    """Returns int64 `[rows]`, how much each row adds towards `weight_needed`; None if each adds 1.

    The rows are those of many clients, in any order, with the `columns` among others.
    """
    del rows
    return None

  def weight_needed(self, examples: int) -> int:
    """Returns how much the rows of a client have to weigh for so many examples, whatever rows they are.

    Rows are counted from the end that is kept: the client's first row, or with `keep = "latest"` its last. Those beyond
    are never featurized, so that too low a figure loses examples.
    """
    return examples

  def count_unscaled(self, rows: pa.Table) -> dict[str, int]:
    """Returns, for each column of numbers that is not scaled, how many of the rows have one that is far from 1."""
    del rows
    return {}

  @abc.abstractmethod
  def featurize(self, rows: rows_lib.ClientRows) -> Examples:
    """Makes all examples that the rows of some clients give, those of each client from its own rows alone."""
