"""The rows of clients, as they travel from the files to the shards."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from contracts import shard_format
from pipelines.rows import columns

# Not the name of any column of a log, one hopes; a feature may well be called position.
ID, ORDER = '$client_id', '$order'
# The fingerprint of what else a row holds, where rows that repeat themselves are one row.
REST = '$rest'


class ClientRows(NamedTuple):
  """The rows of some clients, a client's together and in their order.

  Attributes:
    table: The columns that the featurizer asked for.
    starts: int64 `[clients + 1]`: the rows of client `c` are `starts[c]` to `starts[c + 1]`.
  """

  table: pa.Table
  starts: np.ndarray


def row_schema(feature_columns: Iterable[columns.Column], with_rest: bool = False) -> pa.Schema:
  """Returns the columns of a table of rows: whose row, its place in the client's order, what it says."""
  features = [(column.name, column.kind.arrow_type) for column in feature_columns]
  rest = [(REST, pa.uint32())] if with_rest else []
  return pa.schema([(ID, pa.binary(shard_format.ID_BYTES)), (ORDER, pa.int64()), *features, *rest])
