"""How the values of a column are read: from whatever type a file gives to the one that examples are made of."""

import abc
from collections.abc import Mapping
import dataclasses
import math
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import images
from pipelines.rows import normal_form

# What Arrow reads as a number, so that the good values of a block can be told from the bad ones.
_NUMBER = r'(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan(\([0-9a-z_]*\))?|inf(inity)?)$'
_TRUTH = '(?i)^(true|false)$'
_BOOL = '^(True|TRUE|False|FALSE)$'
# Of undeclared values, what a message may show. Rows are counted, not clients, whose ids are not known here: so
# many rows make it unlikely, not impossible, that they are one client's own words.
_SHOWN_ROWS, _SHOWN_CHARACTERS, _SHOWN_VALUES = 10, 30, 5
# What is found in a column of numbers whose text has a comma before the decimals, or a point where a comma is declared
# (`casts.with_points` makes a semicolon of it); so many refused values are looked at.
OTHER_DECIMALS = 'other_decimals'
_OTHER_DECIMAL = r'^\s*[+-]?\d+[,;]\d+\s*$'
_LOOKED_AT = 100
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class Values(NamedTuple):
  """A column as read.

  Attributes:
    values: One value per row, of the kind's `arrow_type`; anything at all where a row is refused.
    refused: By reason, which rows have no usable value: bool `[rows]`. A row has at most one reason.
    notes: What else is counted for the manifest if the row is used: bool `[rows]`.
    found: Some values that are refused as not declared, the most frequent ones, or `OTHER_DECIMALS`, and how many rows
      have them.
  """

  values: pa.Array
  refused: dict[str, np.ndarray]
  notes: Mapping[str, np.ndarray] = {}
  found: Mapping[str, int] = {}


class Kind(abc.ABC):
  """What a column holds."""

  @property
  @abc.abstractmethod
  def arrow_type(self) -> pa.DataType:
    """The type of the values that `read` returns."""

  @abc.abstractmethod
  def read(self, values: pa.Array | pa.ChunkedArray) -> Values:
    """Reads a column of any type."""


@dataclasses.dataclass(frozen=True)
class Column:
  """A column that examples are made of."""

  name: str
  kind: Kind


@dataclasses.dataclass(frozen=True)
class Text(Kind):
  """Text, or bytes that are UTF-8; in Unicode form NFC.

  Refuses what is `missing`, `not_text` (a number is none) or `not_utf8`.
  """

  @property
  def arrow_type(self) -> pa.DataType:
    # Large: the texts of a bucket of clients may be more than the 2 GB that 32-bit offsets reach.
    return pa.large_string()

  def read(self, values: pa.Array | pa.ChunkedArray) -> Values:
    values = casts.unwrap(values)
    missing = casts.is_null(values)
    text = casts.to_text(values)
    if text is None:
      return Values(pa.nulls(len(values), self.arrow_type), _refused(missing=missing, not_text=~missing))
    return Values(casts.compose(text), _refused(missing=missing, not_utf8=casts.is_null(text) & ~missing))


@dataclasses.dataclass(frozen=True)
class Id(Kind):
  """An id of anything but a client: text or a whole number, as text in the form of normal_form.py.

  Refuses what is `missing` (null or blank) or `not_an_id` (17.5, a bool, bytes that are not UTF-8).
  """

  @property
  def arrow_type(self) -> pa.DataType:
    return pa.large_string()

  def read(self, values: pa.Array | pa.ChunkedArray) -> Values:
    values = casts.unwrap(values)
    missing, text = casts.is_null(values), casts.to_ids(values)
    lost = casts.is_null(text) & ~missing
    encoded = text.dictionary_encode()
    ids = normal_form.normalize(encoded.dictionary).cast(self.arrow_type).take(encoded.indices)
    missing |= casts.to_mask(pc.equal(pc.binary_length(ids), 0))
    return Values(ids, _refused(missing=missing, not_an_id=lost))


@dataclasses.dataclass(frozen=True)
class Number(Kind):
  """A number, as one or as text; true is 1 and false 0. Refuses `missing`, `not_a_number`, `not_finite` as float32.

  Attributes:
    missing: Stands in for a value that is null or empty; without it such a row is refused.
  """

  missing: float | None = None

  def __post_init__(self) -> None:
    if self.missing is not None and not math.isfinite(self.missing):
      raise ValueError(f'Expected a finite number for missing values, found {self.missing}: remove it.')

  @property
  def arrow_type(self) -> pa.DataType:
    return pa.float64()

  def read(self, values: pa.Array | pa.ChunkedArray) -> Values:
    values = casts.unwrap(values)
    missing = casts.is_null(values)
    content = casts.to_bytes(values)
    if content is not None:
      text = pc.ascii_trim_whitespace(content.view(pa.large_string()))
      missing |= casts.to_mask(pc.equal(pc.binary_length(text), 0))
      found = _parse_numbers(pc.if_else(pa.array(missing), None, text))
    elif casts.is_numeric(values.type) or pa.types.is_boolean(values.type):
      found = values.cast(pa.float64(), safe=False)
    else:
      found = pa.nulls(len(values), pa.float64())
    unreadable = casts.is_null(found) & ~missing
    numbers = found.to_numpy(zero_copy_only=False)
    # Examples are float32: what overflows there would become infinite on the way.
    infinite = ~(np.abs(numbers) <= _LARGEST_FLOAT32) & ~missing & ~unreadable
    if self.missing is not None:
      numbers, missing = np.where(missing, self.missing, numbers), np.zeros_like(missing)
    refused = _refused(missing=missing, not_a_number=unreadable, not_finite=infinite)
    return Values(pa.array(numbers, pa.float64()), refused, found=count_other_decimals(values, unreadable))


@dataclasses.dataclass(frozen=True)
class Category(Kind):
  """One of some values: an int32 place among them. Refuses what is `missing` or `not_in_classes`.

  Texts, whole numbers and bools are compared as text: 1, 1.0 and '1' are the same, and so are true and 'true'. A text
  that is no value is compared once more by what `spell` makes of it, for a file of text has no types: '1.0' and ' 1 '
  are 1, and 'True' is true, unless they are values themselves.

  Attributes:
    values: What there is to choose from.
    other: Whether any other value is one of its own, the place after all values, rather than refused.
    missing: Whether no value is one of its own, the last place, rather than refused.
  """

  values: tuple[str, ...]
  other: bool = False
  missing: bool = False

  def __post_init__(self) -> None:
    if not self.values:
      raise ValueError('Expected at least one class or value of a category, found none: list them all.')
    repeated = sorted({value for value in self.values if self.values.count(value) > 1})
    if repeated:
      raise ValueError(f'Expected each class or value of a category once, found {repeated[0]!r} again: list it once.')

  @property
  def arrow_type(self) -> pa.DataType:
    return pa.int32()

  @property
  def places(self) -> int:
    """How many places there are."""
    return len(self.values) + self.other + self.missing

  def read(self, values: pa.Array | pa.ChunkedArray) -> Values:
    values = casts.unwrap(values)
    content = casts.to_names(values)
    read = self._read_listed(values, content)
    has_place = {'not_in_classes': self.other and content is not None, 'missing': self.missing}
    places, refused = read.values, dict(read.refused)
    for reason, place in (('not_in_classes', len(self.values)), ('missing', self.places - 1)):
      if has_place[reason] and reason in refused:
        places = pc.if_else(pa.array(refused.pop(reason)), pa.scalar(place, self.arrow_type), places)
    return Values(places, refused, found=read.found if 'not_in_classes' in refused else {})

  def _read_listed(self, values: pa.Array, content: pa.Array | None) -> Values:
    missing = casts.is_null(values)
    if content is None:
      return Values(pa.nulls(len(values), self.arrow_type), _refused(missing=missing, not_in_classes=~missing))
    known = pa.array([value.encode() for value in self.values], pa.large_binary())
    places = pc.index_in(content, value_set=known)
    unknown = casts.is_null(places) & ~missing
    if not unknown.any():
      return Values(places, _refused(missing=missing))
    rest = casts.view_text(content.filter(pa.array(unknown))).dictionary_encode()
    alike = self._find_alike(rest.dictionary).take(rest.indices)
    places = pc.replace_with_mask(places, pa.array(unknown), alike)
    refused = _refused(missing=missing, not_in_classes=casts.is_null(places) & ~missing)
    return Values(places, refused, found=_find_frequent(rest.filter(alike.is_null())))

  def _find_alike(self, texts: pa.Array) -> pa.Array:
    """Returns the place of the one value that is spelled like each text, or null."""
    values = pa.array(self.values, pa.large_string())
    spelled = spell(values)
    counts = dict(zip(*(array.to_pylist() for array in spelled.value_counts().flatten()), strict=True))
    only = pa.array([text if counts[text] == 1 else None for text in spelled.to_pylist()], pa.large_string())
    texts = spell(texts)
    found = [pc.index_in(texts, value_set=known, skip_nulls=True) for known in (values, only)]
    return pc.coalesce(*found)


@dataclasses.dataclass(frozen=True)
class Image(Kind):
  """A grey image: `height * width` bytes, row after row. Refuses `missing`, `wrong_image_size` and `not_an_image`.

  Reads such bytes, lists of as many whole numbers from 0 to 255 (flat, by rows, or by rows with one channel), and the
  bytes of a PNG or JPEG file; text is such bytes in base64, perhaps as a `data:` URL.
  """

  height: int
  width: int

  def __post_init__(self) -> None:
    if min(self.height, self.width) < 1:
      raise ValueError(f'Expected an image of at least 1x1, found {self.height}x{self.width}.')

  @property
  def arrow_type(self) -> pa.DataType:
    return pa.binary(self.height * self.width)

  def read(self, values: pa.Array | pa.ChunkedArray) -> Values:
    values = casts.unwrap(values)
    missing = casts.is_null(values)
    content = images.from_base64(values) if casts.is_string(values.type) else casts.to_bytes(values)
    if content is None:
      read = images.from_lists(values, self.height, self.width)
    else:
      read = images.from_bytes(content, self.height, self.width)
    pixels = pa.FixedSizeBinaryArray.from_buffers(self.arrow_type, len(values), [None, pa.py_buffer(read.pixels)])
    refused = {'wrong_image_size': read.wrong_size & ~missing, 'not_an_image': read.unreadable & ~missing}
    return Values(pixels, _refused(missing=missing, **refused))


def count_other_decimals(values: pa.Array, unreadable: np.ndarray) -> dict[str, int]:
  """Returns how many of the first of some texts that are no numbers would be with another sign before the decimals."""
  rows = np.flatnonzero(unreadable)[:_LOOKED_AT]
  text = casts.to_text(values.take(pa.array(rows, pa.int64()))) if len(rows) else None
  number = 0 if text is None else casts.to_mask(pc.match_substring_regex(text, _OTHER_DECIMAL)).sum()
  return {OTHER_DECIMALS: int(number)} if number else {}


def spell(texts: pa.Array) -> pa.Array:
  """Returns texts as typed columns would have them: in normal form, and `True` and `FALSE` in lower case."""
  texts = normal_form.normalize(texts)
  return pc.if_else(pc.match_substring_regex(texts, _BOOL), pc.ascii_lower(texts), texts)


def _find_frequent(texts: pa.Array) -> dict[str, int]:
  """Returns the most frequent texts that look like names of classes: what few rows have may be one client's."""
  counts = zip(*(array.to_pylist() for array in texts.drop_null().value_counts().flatten()), strict=True)
  found = [(text, number) for text, number in counts if number >= _SHOWN_ROWS and len(text) <= _SHOWN_CHARACTERS]
  return dict(sorted(found, key=lambda entry: (-entry[1], entry[0]))[:_SHOWN_VALUES])


def _parse_numbers(text: pa.Array) -> pa.Array:
  """Returns texts as float64, null where one is no number."""
  try:
    return text.cast(pa.float64())
  except pa.ArrowInvalid:
    truth = pc.if_else(pc.match_substring_regex(text, _TRUTH), pc.equal(pc.ascii_lower(text), 'true'), None)
    numbers = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None).cast(pa.float64())
    return pc.coalesce(numbers, truth.cast(pa.float64()))


def _refused(**reasons: np.ndarray) -> dict[str, np.ndarray]:
  return {reason: rows for reason, rows in reasons.items() if rows.any()}
