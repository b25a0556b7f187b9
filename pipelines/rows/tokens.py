"""Text to words or characters: one rule each, for learning a vocabulary and for making examples with it."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts

# What is neither white space nor part of a word stands for itself. Apostrophes are part of words: don't, 'tis.
_MARK = r"([^\s\pL\pM\pN'’])"


class Tokens(NamedTuple):
  """The words and marks of some texts, one after the other.

  Attributes:
    words: large_string `[tokens]`.
    row_starts: int64 `[rows + 1]`: the tokens of text `r` are `row_starts[r]` to `row_starts[r + 1]`.
  """

  words: pa.Array
  row_starts: np.ndarray


class Characters(NamedTuple):
  """The characters of some texts, one after the other.

  Attributes:
    points: Their Unicode code points, uint8 or uint32 `[characters]`.
    row_starts: int64 `[rows + 1]`: the characters of text `r` are `row_starts[r]` to `row_starts[r + 1]`.
  """

  points: np.ndarray
  row_starts: np.ndarray


def characters(texts: pa.Array | pa.ChunkedArray) -> Characters:
  """Returns the code points of texts without nulls, which columns of text give in Unicode form NFC."""
  if isinstance(texts, pa.ChunkedArray):
    texts = texts.combine_chunks()
  texts = texts.cast(pa.large_string())
  lengths = pc.utf8_length(texts).to_numpy()
  row_starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
  encoded = casts.content_of(texts)
  if row_starts[-1] == len(encoded):  # A byte a character: ASCII.
    return Characters(np.frombuffer(encoded, np.uint8), row_starts)
  return Characters(np.frombuffer(str(encoded, 'utf-8').encode('utf-32-le'), '<u4'), row_starts)


def split(texts: pa.Array | pa.ChunkedArray) -> Tokens:
  """Cuts texts into lower-case words.

  A word is a run of letters, digits, what is combined with them, and apostrophes. Every other character that is not
  white space is a token of its own: a comma, a dash, an emoji.
  """
  if isinstance(texts, pa.ChunkedArray):
    texts = texts.combine_chunks()
  spaced = pc.replace_substring_regex(pc.utf8_lower(texts.cast(pa.large_string())), _MARK, r' \1 ')
  # Trimmed first: for white space that ends the last text, pyarrow 25 looks beyond the end, and may keep it.
  pieces = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(spaced))
  words = pieces.flatten()
  # Of a text without words there is an empty piece.
  is_word = pc.greater(pc.binary_length(words), 0)
  counted = np.concatenate([[0], np.cumsum(is_word.to_numpy(zero_copy_only=False))])
  ends = np.cumsum(pc.list_value_length(pieces).to_numpy(), dtype=np.int64)
  return Tokens(words.filter(is_word), counted[np.concatenate([[0], ends])])
