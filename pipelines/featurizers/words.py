"""Text as the words that follow each other."""

import dataclasses

import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import labels
from pipelines.featurizers import packing
from pipelines.featurizers import sequence
from pipelines.featurizers import vocabularies
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib
from pipelines.rows import tokens

_END = '<end>'


@dataclasses.dataclass(frozen=True)
class Words(sequence.Sequence):
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

  @property
  def rows_stand_alone(self) -> bool:
    return True

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

  def weigh(self, rows: pa.Table) -> np.ndarray:
    return np.diff(tokens.split(rows[self.column]).row_starts) + self.end_token

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    schema = self.schema
    words, row_starts = tokens.split(rows.table[self.column])
    codes = packing.encode(words, schema.classes, self._special).astype(schema.feature.dtype)
    if self.end_token:
      codes = np.insert(codes, row_starts[1:], schema.classes.index(_END))
      row_starts = row_starts + np.arange(len(row_starts))
    return packing.pack_windows(codes, row_starts, rows.starts, self.window_length, schema.label.dtype)
