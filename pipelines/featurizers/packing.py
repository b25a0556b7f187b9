"""Each client's stream of codes cut into windows, the label of a code being the one that follows: text, for example."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import schema as schema_lib
from pipelines.featurizers import base

# The classes that a text's begin with: what fills up a window that ends early, and what has no code of its own.
SPECIAL = PAD, UNKNOWN = schema_lib.SPECIAL_CLASSES
PAD_CODE, UNKNOWN_CODE = range(len(SPECIAL))
# Beyond any model for a phone; a slip of the keyboard should not cost all memory.
_MAX_WINDOW = 1 << 16


def check_window_length(window_length: int) -> None:
  """Raises a ValueError if no window can be so long."""
  if not 1 <= window_length <= _MAX_WINDOW:
    raise ValueError(f'Expected 1 <= window_length <= {_MAX_WINDOW}, found {window_length}.')


def encode(entries: pa.Array, classes: Sequence[str], special: Sequence[str]) -> np.ndarray:
  """Returns the code of each text: its place among the classes behind the special ones, or `UNKNOWN_CODE`."""
  known = pa.array(classes[len(special) :], pa.large_string())
  places = pc.fill_null(pc.index_in(entries, value_set=known), UNKNOWN_CODE - len(special))
  return places.to_numpy() + len(special)


def pack_windows(
  codes: np.ndarray,
  row_starts: np.ndarray,
  client_starts: np.ndarray,
  window_length: int,
  label_dtype: str,
) -> base.Examples:
  """Cuts the codes of each client into windows of `window_length`, without a loop over clients or codes.

  A client with `n` codes has `ceil((n - 1) / window_length)` windows: its last code has none that follows, so it is
  only ever a label. What is left of the last window is filled with `PAD_CODE`, its labels with `IGNORED_LABEL`. The
  label of an unknown code is `UNKNOWN_LABEL`: to guess that something is one of all those without a code is easy, would
  look like accuracy, and puts nothing on a keyboard.

  Args:
    codes: Integers `[codes]`, the codes of all clients one after the other; of the type that features shall have.
    row_starts: int64 `[rows + 1]`: the codes of row `r` are `row_starts[r]` to `row_starts[r + 1]`.
    client_starts: int64 `[clients + 1]`: the rows of client `c`, as in `ClientRows.starts`.
    window_length: Codes in an example.
    label_dtype: A signed NumPy type that holds all codes.

  Returns:
    The examples; the rows that one draws on are those of its features and labels; `unknown` and `positions` count
    its features alone.
  """
  code_starts = row_starts[client_starts]
  counts = np.maximum(-(-(np.diff(code_starts) - 1) // window_length), 0)
  starts = np.concatenate([[0], np.cumsum(counts)])
  # The first window of a client begins with the client, each other one window after the one before.
  begins = np.arange(starts[-1]) * window_length + np.repeat(code_starts[:-1] - starts[:-1] * window_length, counts)
  lengths = np.minimum(np.repeat(code_starts[1:], counts) - 1 - begins, window_length)
  unknown = np.flatnonzero(codes == UNKNOWN_CODE)
  answers = codes.astype(label_dtype)
  answers[unknown] = schema_lib.UNKNOWN_LABEL
  features, labels = _gather(codes, begins, window_length), _gather(answers, begins + 1, window_length)
  short = np.flatnonzero(lengths < window_length)
  beyond = np.arange(window_length) >= lengths[short, np.newaxis]
  features[short] = np.where(beyond, PAD_CODE, features[short])
  labels[short] = np.where(beyond, schema_lib.IGNORED_LABEL, labels[short])
  return base.Examples(
    features=features,
    labels=labels,
    starts=starts,
    first_row=_row_of(row_starts, begins),
    last_row=_row_of(row_starts, begins + lengths),
    unknown=np.searchsorted(unknown, begins + lengths) - np.searchsorted(unknown, begins),
    positions=lengths,
  )


def _gather(codes: np.ndarray, begins: np.ndarray, length: int) -> np.ndarray:
  """Returns `[len(begins), length]`: the codes from each beginning on, whatever lies behind the end of them all."""
  padded = np.concatenate([codes, np.full(length, PAD_CODE, codes.dtype)])
  return np.lib.stride_tricks.sliding_window_view(padded, length)[begins]


def _row_of(row_starts: np.ndarray, places: np.ndarray) -> np.ndarray:
  return np.searchsorted(row_starts, places, side='right') - 1
