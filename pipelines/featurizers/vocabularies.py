"""The kinds of vocabularies: words, characters, and the items of a sequence."""

import dataclasses
from typing import ClassVar
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.featurizers import packing
from pipelines.rows import normal_form
from pipelines.rows import tokens
from pipelines.statistics import vocabulary

# Whoever writes longer ones would make the vocabulary as large as they like.
_MAX_WORD_CHARACTERS, _MAX_ITEM_CHARACTERS = 64, 256
NEWLINE = '\n'
# Declared, not learned: an alphabet read from the users' own text has to be paid for in privacy.
ASCII = tuple(map(chr, range(32, 127)))


@dataclasses.dataclass(frozen=True)
class Words(vocabulary.Vocabulary):
  """Words in lower case, as `tokens.split` cuts them, of at most 64 characters.

  Attributes:
    words: Those of 'declared'; else what `file` holds or the users had, once known.
    max_words: Of 'public' and 'dp': the most words, the first of the file or the most frequent.
    words_per_client: Of 'dp': how many different words one user votes for. More votes take more noise on each.
  """

  words: tuple[str, ...] = ()
  max_words: int = 10_000
  words_per_client: int = 100

  UNIT: ClassVar[str] = 'words'

  def cut(self, values: pa.Array | pa.ChunkedArray) -> tokens.Tokens:
    return tokens.split(values)

  def cut_file(self, text: str) -> pa.Array:
    return tokens.split(pa.array([text], pa.large_string())).words

  def is_allowed(self, entries: pa.Array) -> np.ndarray:
    return _is_short(entries, _MAX_WORD_CHARACTERS)

  def not_an_entry(self, found: str) -> ValueError:
    return ValueError(f'Expected words in lower case, without spaces and marks inside, found {found!r:.80}.')


@dataclasses.dataclass(frozen=True)
class Alphabet(vocabulary.Vocabulary):
  """Characters: Unicode code points of text in form NFC. The newline has a code in any case.

  An emoji made of several code points is as many characters, and so is a letter with a combining mark that has no code
  point of its own.

  Attributes:
    source: As of other vocabularies; or 'ascii', which is printable ASCII.
    characters: Those of 'declared', as one text or as a list; else what `file` holds or the users had, once known.
    max_characters: Of 'public' and 'dp': the most characters, the first of the file or the most frequent.
    characters_per_client: Of 'dp': how many different characters one user votes for. Printable ASCII is in a learned
      alphabet without votes: it is public and costs nothing.
  """

  source: str = 'ascii'
  characters: str | tuple[str, ...] = ()
  max_characters: int = 4_000
  characters_per_client: int = 100

  NAME: ClassVar[str] = 'alphabet'
  UNIT: ClassVar[str] = 'characters'
  SOURCES: ClassVar[tuple[str, ...]] = ('ascii', *vocabulary.Vocabulary.SOURCES)

  @property
  def entries(self) -> tuple[str, ...]:
    declared = super().entries
    if isinstance(self.characters, str):  # A letter and its mark may be one character after all.
      declared = tuple(unicodedata.normalize('NFC', self.characters))
    return declared or (ASCII if self.source == 'ascii' else ())

  def require(self, column: str) -> tuple[str, ...]:
    learned = super().require(column)
    return (*ASCII, *learned) if self.source == 'dp' else learned

  def cut(self, values: pa.Array | pa.ChunkedArray) -> tokens.Tokens:
    points, row_starts = tokens.characters(values)
    encoded = pa.array(points.astype(np.int32)).dictionary_encode()
    names = pa.array(map(chr, encoded.dictionary.to_pylist()), pa.large_string())
    return tokens.Tokens(pa.DictionaryArray.from_arrays(encoded.indices, names), row_starts)

  def cut_file(self, text: str) -> pa.Array:
    return pa.array([character for line in text.splitlines() for character in line], pa.large_string())

  def is_allowed(self, entries: pa.Array) -> np.ndarray:
    known = (NEWLINE, *ASCII) if self.source == 'dp' else (NEWLINE,)
    return ~pc.is_in(entries, pa.array(known, entries.type)).to_numpy(zero_copy_only=False)

  def not_an_entry(self, found: str) -> ValueError:
    if found == NEWLINE:
      return ValueError('Expected characters without the newline, found it: remove it, it always has a code.')
    return ValueError(
      f'Expected characters of one code point each, found {found!r:.80} of {len(found)}: write them all as one text.'
    )


@dataclasses.dataclass(frozen=True)
class Items(vocabulary.Vocabulary):
  """The items of clients' sequences: ids of any type, as text of at most 256 characters in the form of normal_form.py.

  Attributes:
    items: Those of 'declared'; else what `file` holds (one a line) or the users had, once known.
    max_items: Of 'public' and 'dp': the most items, the first of the file or the most frequent.
    items_per_client: Of 'dp': how many different items one user votes for. More votes take more noise on each.
  """

  items: tuple[str, ...] = ()
  max_items: int = 10_000
  items_per_client: int = 100

  UNIT: ClassVar[str] = 'items'

  @property
  def entries(self) -> tuple[str, ...]:
    return tuple(normal_form.normalize(pa.array(self.items, pa.large_string())).to_pylist())

  def cut(self, values: pa.Array | pa.ChunkedArray) -> tokens.Tokens:
    items = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return tokens.Tokens(items, np.arange(len(items) + 1))

  def cut_file(self, text: str) -> pa.Array:
    lines = normal_form.normalize(pa.array(text.splitlines(), pa.large_string()))
    return lines.filter(pc.greater(pc.binary_length(lines), 0))

  def is_allowed(self, entries: pa.Array) -> np.ndarray:
    is_special = pc.is_in(entries, pa.array(packing.SPECIAL, entries.type)).to_numpy(zero_copy_only=False)
    is_empty = pc.equal(pc.binary_length(entries), 0).to_numpy(zero_copy_only=False)
    return _is_short(entries, _MAX_ITEM_CHARACTERS) & ~is_empty & ~is_special

  def not_an_entry(self, found: str) -> ValueError:
    if found in packing.SPECIAL:
      return ValueError(f'Expected other items than {", ".join(packing.SPECIAL)}, found {found!r}: call it otherwise.')
    return ValueError(f'Expected items of 1 to {_MAX_ITEM_CHARACTERS} characters, found {found!r:.80}: correct it.')


def _is_short(entries: pa.Array, most: int) -> np.ndarray:
  return pc.less_equal(pc.utf8_length(entries), most).to_numpy(zero_copy_only=False)
