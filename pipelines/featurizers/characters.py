"""Text to characters: a client's text in order, cut into windows; the label is the character that follows."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import packing
from pipelines.learning import base as learning
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib

# Declared, not learned: a vocabulary read from the users' own text would have to be paid for in privacy.
ALPHABET = (*packing.SPECIAL, '\n', *map(chr, range(32, 127)))


@dataclasses.dataclass(frozen=True)
class Characters(base.Featurizer):
  """Next character: the client's rows of text one after the other, a newline after each.

  A character outside `ALPHABET` becomes `<unknown>` and is counted where it is a feature; as a label it is
  `UNKNOWN_LABEL`. The last window is padded, its labels with `IGNORED_LABEL`. An example draws on a row when one of its
  characters (the newline included) is in the window, as a feature or as a label.

  Attributes:
    column: The column with the text.
    window_length: Characters in an example.
  """

  column: str
  window_length: int = 80

  def __post_init__(self) -> None:
    packing.check_window_length(self.window_length)

  @property
  def schema(self) -> schema_lib.Schema:
    return schema_lib.Schema(
        task='next_character',
        feature=schema_lib.Feature('characters', 'uint8', (self.window_length,)),
        label=schema_lib.Feature('next_characters', 'int8', (self.window_length,)),
        classes=ALPHABET,
    )

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return (columns.Column(self.column, columns.Text()),)

  @property
  def provenance(self) -> list[dict[str, Any]]:
    return [learning.free_entry('alphabet', 'declared')]

  def weigh(self, rows: pa.Table) -> np.ndarray | None:
    return pc.utf8_length(rows[self.column]).to_numpy().astype(np.int64) + 1

  def weight_needed(self, examples: int) -> int:
    return examples * self.window_length + 1

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    lengths = pc.utf8_length(rows.table[self.column]).to_numpy()
    row_starts = np.concatenate([[0], np.cumsum(lengths + 1, dtype=np.int64)])
    # By chunk: one array of all texts may be more than Arrow's 32-bit offsets reach.
    chunks = [_encode(chunk) for chunk in rows.table[self.column].chunks]
    codes = np.concatenate([np.empty(0, np.uint8), *chunks])
    return packing.pack_windows(codes, row_starts, rows.starts, self.window_length, self.schema.label.dtype)


def _encode(texts: pa.Array) -> np.ndarray:
  """Returns the place in `ALPHABET` of each character of the texts, a newline after each: uint8 `[characters]`."""
  large = pa.large_string()
  nothing, newline = pa.scalar('', large), pa.scalar('\n', large)
  _, offsets, content = pc.binary_join_element_wise(texts.cast(large), nothing, newline).buffers()
  end = np.frombuffer(offsets, np.int64)[len(texts)]
  characters = np.frombuffer(content or b'', np.uint8)[:end]
  if (characters >= 0x80).any():
    # Every character begins with one byte that does not continue another.
    characters = characters[characters & 0xC0 != 0x80]
  return _CODES[characters]


def _make_codes() -> np.ndarray:
  """Returns the code of each byte that a character can begin with: those beyond ASCII stand for all that lie there."""
  codes = np.full(256, packing.UNKNOWN_CODE, np.uint8)
  for place, character in enumerate(ALPHABET):
    if len(character) == 1:
      codes[ord(character)] = place
  return codes


_CODES = _make_codes()
