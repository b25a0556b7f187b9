"""Text as the words that follow each other."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import labels
from pipelines.featurizers import packing
from pipelines.featurizers import tokens
from pipelines.learning import base as learning
from pipelines.learning import vocabularies
from pipelines.learning import vocabulary as vocabulary_lib
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib

_END = '<end>'


@dataclasses.dataclass(frozen=True)
class Words(base.Featurizer):
  """A client's text in order, cut into words, `<end>` after each row, then into windows; a label is the next word.

  A word outside of the vocabulary is the feature `<unknown>` and the label `UNKNOWN_LABEL`. The last window is padded.

  Attributes:
    column: The text.
    window_length: Words in an example.
    vocabulary: The words that have a code.
    end_token: Whether there is an `<end>` after each row. Without it a row goes on where the one before ends.
  """

  column: str
  vocabulary: vocabularies.Words
  window_length: int = 20
  end_token: bool = True

  def __post_init__(self) -> None:
    packing.check_window_length(self.window_length)

  @property
  def schema(self) -> schema_lib.Schema:
    classes = (*self._special, *self.vocabulary.require(self.column))
    dtype = labels.dtype_of(len(classes))
    return schema_lib.Schema(
        task='next_word',
        feature=schema_lib.Feature('words', dtype, (self.window_length,)),
        label=schema_lib.Feature('next_words', dtype, (self.window_length,)),
        classes=classes,
    )

  @property
  def _special(self) -> tuple[str, ...]:
    return (*packing.SPECIAL, _END) if self.end_token else packing.SPECIAL

  @property
  def columns(self) -> tuple[columns_lib.Column, ...]:
    return (columns_lib.Column(self.column, columns_lib.Text()),)

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return self.vocabulary.provenance()

  @property
  def learner(self) -> learning.Learner | None:
    return self.vocabulary.learner(self.column)

  @property
  def vocabulary_in_use(self) -> vocabulary_lib.Vocabulary:
    return self.vocabulary

  def with_learned(self, value: Any) -> 'Words':
    return dataclasses.replace(self, vocabulary=self.vocabulary.with_learned(value))

  def weigh(self, rows: pa.Table) -> np.ndarray:
    return np.diff(tokens.split(rows[self.column]).row_starts) + self.end_token

  def weight_needed(self, examples: int) -> int:
    return examples * self.window_length + 1

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    schema, special = self.schema, len(self._special)
    words, row_starts = tokens.split(rows.table[self.column])
    known = pa.array(schema.classes[special:], pa.large_string())
    places = pc.fill_null(pc.index_in(words, value_set=known), packing.UNKNOWN_CODE - special).to_numpy()
    codes = (places + special).astype(schema.feature.dtype)
    if self.end_token:
      codes = np.insert(codes, row_starts[1:], schema.classes.index(_END))
      row_starts = row_starts + np.arange(len(row_starts))
    return packing.pack_windows(codes, row_starts, rows.starts, self.window_length, schema.label.dtype)
