"""From the rows of one client to its examples: one class per kind of task, none of which knows Beam or files.

A featurizer sees one client's rows in their order. It stops at `max_examples`, keeping the first, so that one client
with very much data costs no more than the limit.
"""

import abc
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import schema as schema_lib

_PAD, _UNKNOWN = '<pad>', '<unknown>'
# Declared, not learned: a vocabulary read from the users' own text would have to be paid for in privacy.
ALPHABET = (_PAD, _UNKNOWN, '\n', *map(chr, range(32, 127)))
CHARACTERS_UNKNOWN = 'characters_unknown'


class Featurized(NamedTuple):
  """One client's examples.

  Attributes:
    features: `[n, *feature.shape]`.
    labels: `[n, *label.shape]`.
    rows_reached: int64 `[n]`: how many of the client's rows, from the first, the examples up to this one draw on.
    notes: Counts worth a line in the manifest that are no reason to refuse a row.
  """

  features: np.ndarray
  labels: np.ndarray
  rows_reached: np.ndarray
  notes: dict[str, int]


class Featurizer(abc.ABC):
  """Makes examples of `schema` from rows of `row_schema`.

  Attributes:
    schema: What an example holds.
    row_schema: The columns of a row: `client_id`, `order`, then what the row says.
    sort_keys: The columns that put the rows of a bucket into a total order, the client first.
    identity: Two rows that agree in these columns are the same row twice.
  """

  schema: schema_lib.Schema
  row_schema: pa.Schema
  sort_keys: tuple[str, ...]
  identity: tuple[str, ...]

  @abc.abstractmethod
  def featurize(self, rows: pa.Table, max_examples: int) -> Featurized:
    """Returns the first `max_examples` examples of one client from its sorted rows."""


class NextCharacter(Featurizer):
  """A client's text in order, a newline after each row, cut into windows; the label is the character that follows.

  A character outside `ALPHABET` becomes `<unknown>` and is counted. The last window is padded, its label with
  `IGNORED_LABEL`. A row counts as reached when one of its characters (its newline included) is in a window, as a
  feature or as a label.
  """

  row_schema = pa.schema([('client_id', pa.string()), ('order', pa.int64()), ('text', pa.string())])
  sort_keys = ('client_id', 'order', 'text')
  identity = ('client_id', 'order', 'text')

  def __init__(self, window_length: int):
    self.schema = schema_lib.Schema(
        task='next_character',
        feature=schema_lib.Feature('characters', 'uint8', (window_length,)),
        label=schema_lib.Feature('next_characters', 'int8', (window_length,)),
        classes=ALPHABET,
    )

  def featurize(self, rows: pa.Table, max_examples: int) -> Featurized:
    window = self.schema.feature.size
    ends = np.cumsum(pc.utf8_length(rows['text']).to_numpy().astype(np.int64) + 1)
    num_windows = int(min(-(-(ends[-1] - 1) // window), max_examples))
    # A row is needed when it starts within the kept characters: those of the windows and the label of the last one.
    starts = ends - np.diff(ends, prepend=0)
    rows_reached = np.searchsorted(starts, np.arange(1, num_windows + 1) * window + 1)
    needed = rows['text'].slice(0, rows_reached[-1] if num_windows else 0)
    codes = _encode(''.join(f'{text}\n' for text in needed.to_pylist()))[:num_windows * window + 1]
    features = np.zeros(num_windows * window, np.uint8)
    labels = np.full(num_windows * window, schema_lib.IGNORED_LABEL, np.int8)
    features[:len(codes) - 1], labels[:len(codes) - 1] = codes[:-1], codes[1:]
    notes = {CHARACTERS_UNKNOWN: int(np.count_nonzero(codes == ALPHABET.index(_UNKNOWN)))}
    return Featurized(features.reshape(-1, window), labels.reshape(-1, window), rows_reached, notes)


class Handwriting(Featurizer):
  """One row, one example: an image of 28x28 grey values (white is 255) and the character it shows."""

  row_schema = pa.schema([
      ('client_id', pa.string()), ('order', pa.int64()), ('image', pa.binary()), ('character', pa.uint8())
  ])
  sort_keys = ('client_id', 'order')
  # An image that a writer has twice would otherwise stand on both sides of the held-out tail.
  identity = ('client_id', 'image')
  schema = schema_lib.Schema(
      task='handwriting',
      feature=schema_lib.Feature('image', 'uint8', (28, 28)),
      label=schema_lib.Feature('character', 'int8', ()),
      classes=tuple('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'),
  )

  def featurize(self, rows: pa.Table, max_examples: int) -> Featurized:
    rows = rows.slice(0, max_examples)
    images = np.frombuffer(b''.join(rows['image'].to_pylist()), np.uint8)
    features = images.reshape(rows.num_rows, *self.schema.feature.shape)
    return Featurized(features, rows['character'].to_numpy().astype(np.int8), np.arange(1, rows.num_rows + 1), {})


def _encode(text: str) -> np.ndarray:
  """Returns the place of each character in `ALPHABET`."""
  codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
  return _CODES[np.minimum(codes, len(_CODES) - 1)]


def _make_codes() -> np.ndarray:
  codes = np.full(128, ALPHABET.index(_UNKNOWN), np.uint8)  # 127 is outside and stands for all that lies beyond.
  for place, character in enumerate(ALPHABET):
    if len(character) == 1:
      codes[ord(character)] = place
  return codes


_CODES = _make_codes()
