"""Items of a client's sequence, such as places, products or songs: the label of one is the one that follows."""

import dataclasses

import numpy as np

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import labels
from pipelines.featurizers import packing
from pipelines.featurizers import sequence
from pipelines.featurizers import vocabularies
from pipelines.rows import columns as columns_lib
from pipelines.rows import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class Items(sequence.Sequence):
  """A client's rows in order, each of which is one item, cut into windows; a label is the next item.

  Items are ids of any type in the normal form of client ids: 17, 17.0 and "17" are the same. One outside of the
  vocabulary is the feature `<unknown>` and the label `UNKNOWN_LABEL`. The last window is padded.

  Attributes:
    column: The items.
    window_length: Items in an example.
    vocabulary: The items that have a code.
  """

  column: str
  vocabulary: vocabularies.Items
  window_length: int = 20

  @property
  def schema(self) -> schema_lib.Schema:
    classes = (*packing.SPECIAL, *self.vocabulary.require(self.column))
    dtype = labels.dtype_of(len(classes))
    return schema_lib.Schema(
      task='next_item',
      feature=schema_lib.Feature('items', dtype, (self.window_length,)),
      label=schema_lib.Feature('next_items', dtype, (self.window_length,)),
      classes=classes,
    )

  @property
  def columns(self) -> tuple[columns_lib.Column, ...]:
    return (columns_lib.Column(self.column, columns_lib.Id()),)

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    schema = self.schema
    codes = packing.encode(rows.table[self.column].combine_chunks(), schema.classes, packing.SPECIAL)
    row_starts = np.arange(len(codes) + 1)
    return packing.pack_windows(
      codes.astype(schema.feature.dtype), row_starts, rows.starts, self.window_length, schema.label.dtype
    )
