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
from pipelines.learning import vocabulary as vocabulary_lib
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib

_SPECIAL = (*packing.SPECIAL, '<end>')
_END = _SPECIAL.index('<end>')


@dataclasses.dataclass(frozen=True)
class Words(base.Featurizer):
  """A client's text in order, cut into words, `<end>` after each row, then into windows; a label is the next word.

  A word outside of the vocabulary is the feature `<unknown>` and the label `UNKNOWN_LABEL`. The last window is padded.

  Attributes:
    column: The text.
    window_length: Words in an example.
    vocabulary: The words that have a code.
  """

  column: str
  vocabulary: vocabulary_lib.Vocabulary
  window_length: int = 20

  def __post_init__(self) -> None:
    packing.check_window_length(self.window_length)

  @property
  def schema(self) -> schema_lib.Schema:
    if not self.vocabulary.words:
      raise ValueError(f'Expected the words of {self.column} to be known, found none: load or learn them first.')
    classes = (*_SPECIAL, *self.vocabulary.words)
    dtype = labels.dtype_of(len(classes))
    return schema_lib.Schema(
        task='next_word',
        feature=schema_lib.Feature('words', dtype, (self.window_length,)),
        label=schema_lib.Feature('next_words', dtype, (self.window_length,)),
        classes=classes,
    )

  @property
  def columns(self) -> tuple[columns_lib.Column, ...]:
    return (columns_lib.Column(self.column, columns_lib.Text()),)

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return self.vocabulary.entries()

  @property
  def learner(self) -> learning.Learner | None:
    return self.vocabulary.learner(self.column)

  def with_learned(self, value: Any) -> 'Words':
    return dataclasses.replace(self, vocabulary=self.vocabulary.with_learned(value))

  def weigh(self, rows: pa.Table) -> np.ndarray:
    return np.diff(tokens.split(rows[self.column]).row_starts) + 1

  def weight_needed(self, examples: int) -> int:
    return examples * self.window_length + 1

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    schema = self.schema
    words, word_starts = tokens.split(rows.table[self.column])
    known = pa.array(self.vocabulary.words, pa.large_string())
    places = pc.fill_null(pc.index_in(words, value_set=known), packing.UNKNOWN_CODE - len(_SPECIAL)).to_numpy()
    codes = np.insert((places + len(_SPECIAL)).astype(schema.feature.dtype), word_starts[1:], _END)
    row_starts = word_starts + np.arange(len(word_starts))
    return packing.pack_windows(codes, row_starts, rows.starts, self.window_length, schema.label.dtype)
