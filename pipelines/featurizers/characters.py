"""Text to characters: a client's text in order, cut into windows; the label is the character that follows."""

import dataclasses
import functools
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import labels
from pipelines.featurizers import packing
from pipelines.featurizers import sequence
from pipelines.featurizers import vocabularies
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib
from pipelines.rows import tokens

_SPECIAL = (*packing.SPECIAL, vocabularies.NEWLINE)
_UINT8_CODES = 256
_PIECE = 1 << 14


@dataclasses.dataclass(frozen=True)
class Characters(sequence.Sequence):
  """Next character: the client's rows of text one after the other, a newline after each.

  A character is a Unicode code point of text in form NFC. One outside of the alphabet becomes `<unknown>` and is
  counted where it is a feature; as a label it is `UNKNOWN_LABEL`. The last window is padded, its labels with
  `IGNORED_LABEL`. An example draws on a row when one of its characters (the newline included) is in the window, as a
  feature or as a label.

  Attributes:
    column: The column with the text.
    window_length: Characters in an example.
    alphabet: The characters that have a code; the newline has one too.
    end_token: Whether there is a newline after each row. Without it a row goes on where the one before ends.
  """

  column: str
  window_length: int = 80
  alphabet: vocabularies.Alphabet = dataclasses.field(default_factory=vocabularies.Alphabet)
  end_token: bool = True

  VOCABULARY: ClassVar[str] = 'alphabet'

  @property
  def rows_stand_alone(self) -> bool:
    return True

  @property
  def schema(self) -> schema_lib.Schema:
    classes = (*_SPECIAL, *self.alphabet.require(self.column))
    label = labels.dtype_of(len(classes))
    return schema_lib.Schema(
      task='next_character',
      feature=schema_lib.Feature(
        'characters', 'uint8' if len(classes) <= _UINT8_CODES else label, (self.window_length,)
      ),
      label=schema_lib.Feature('next_characters', label, (self.window_length,)),
      classes=classes,
    )

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return (columns.Column(self.column, columns.Text()),)

  def weigh(self, rows: pa.Table) -> np.ndarray | None:
    return pc.utf8_length(rows[self.column]).to_numpy().astype(np.int64) + self.end_token

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    schema = self.schema
    lengths = pc.utf8_length(rows.table[self.column]).to_numpy()
    row_starts = np.concatenate([[0], np.cumsum(lengths + self.end_token, dtype=np.int64)])
    codes = _codes(schema.classes, schema.feature.dtype)
    # By chunk: one array of all texts may be more than Arrow's 32-bit offsets reach.
    chunks = [self._encode(chunk, codes) for chunk in rows.table[self.column].chunks]
    stream = np.concatenate([np.empty(0, codes.dtype), *chunks])
    return packing.pack_windows(stream, row_starts, rows.starts, self.window_length, schema.label.dtype)

  def _encode(self, texts: pa.Array, codes: np.ndarray) -> np.ndarray:
    """Returns the code of each character of the texts, with the newline after each if there is one."""
    texts = texts.cast(pa.large_string())
    if self.end_token:
      texts = pc.binary_join_element_wise(texts, pa.scalar('', texts.type), pa.scalar(vocabularies.NEWLINE, texts.type))
    return _look_up(tokens.characters(texts).points, codes)


def _look_up(points: np.ndarray, codes: np.ndarray) -> np.ndarray:
  """Returns the code of each code point."""
  if points.dtype == codes.dtype == np.uint8:  # NumPy would make an index of 64 bits of each byte first.
    table = codes[np.minimum(np.arange(_UINT8_CODES), len(codes) - 1)].tobytes()
    return np.frombuffer(points.tobytes().translate(table), np.uint8)
  found = np.empty(len(points), codes.dtype)
  for start in range(0, len(points), _PIECE):  # So that the index stays in the cache.
    piece = slice(start, start + _PIECE)
    np.take(codes, points[piece], mode='clip', out=found[piece])
  return found


@functools.lru_cache(maxsize=4)
def _codes(classes: tuple[str, ...], dtype: str) -> np.ndarray:
  """Returns the code of each code point; the last one stands for all beyond."""
  points = {ord(character): code for code, character in enumerate(classes) if len(character) == 1}
  codes = np.full(max(points) + 2, packing.UNKNOWN_CODE, dtype)
  codes[list(points.keys())] = list(points.values())
  return codes
