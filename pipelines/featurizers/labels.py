"""Labels of examples that belong to one of some declared classes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib

_DTYPES = ('int8', 'int16', 'int32')


def dtype_of(num_classes: int) -> str:
  """Returns the smallest signed type that holds the places of so many classes."""
  return next(dtype for dtype in _DTYPES if num_classes - 1 <= np.iinfo(dtype).max)


def feature(name: str, classes: Sequence[str]) -> schema_lib.Feature:
  """Returns the label of an example that has one."""
  return schema_lib.Feature(name, dtype_of(len(classes)), ())


def read(places: pa.ChunkedArray, label: schema_lib.Feature) -> np.ndarray:
  """Returns a column of places among the classes as labels."""
  return places.to_numpy().astype(label.dtype)
