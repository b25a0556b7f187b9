"""Times as logs write them, as microseconds since 1970 in UTC: decided for each text by its form, never by others.

Known forms: ISO 8601, also with a space, slashes, or a zone in words (`2015-05-20 21:34:02 UTC`); seconds, milli-,
micro- and nanoseconds since 1970, told apart by their size; `05/20/2015 9:34 PM`, `20.05.2015 21:34`, `20/05/2015`;
names of months as in the logs of web servers, RFC 2822, asctime and JavaScript. Without a zone a time is UTC.

What can be read in two ways is not guessed: `05/06/2015`, and digits that may be a date (`20150520`, in seconds a day
of 1970). Numbers with dots between them begin with the day.
"""

import datetime
import decimal
import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts
from pipelines.rows import time_forms
from pipelines.rows import time_parts

# What the years 1 to 9999 are, in microseconds.
_FIRST, _LAST = (pa.scalar(time, pa.timestamp('us')).value for time in (datetime.datetime.min, datetime.datetime.max))

_DIGITS = r'^(?P<sign>[+-]?)(?P<whole>[0-9]{1,19})(?:\.(?P<fraction>[0-9]*))?$'
_DATE_OF_DIGITS = (
  r'^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(([01][0-9]|2[0-3])[0-5][0-9]([0-5][0-9])?)?$'
)
# From so many of each unit on, digits are of the next one: it has so many microseconds, or is a thousandth of one.
_UNITS = ((10**11, time_parts.SECOND), (10**14, 1_000), (10**17, 1), (None, 0))
_CLOCK, _CLOCK_LENGTH = '[0-9]{2}:[0-9]{2}:[0-9]{2}', 8
# What may stand behind a clock so that a time is a day and a clock: no half of a day, no zone with a summer time.
_PLAIN_TAIL = r'^( ?(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?( [0-9]{4})?\]?$'
_TRIED = 64
_MOST_PLACES, _LEAST_REPEATS = 16, 4
_ENDS_IN_ZONE = r'[T ].*(Z|[+-][0-9]{2}:?[0-9]{2})$'
_EXPONENT = re.compile(r'[+-]?\d\.\d+[eE][+]?\d{1,2}')
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Times(NamedTuple):
  """Texts as times.

  Attributes:
    values: int64, microseconds since 1970 in UTC, null where there is none.
    ambiguous: bool `[rows]`, which ones can be read in two ways.
  """

  values: pa.Array
  ambiguous: np.ndarray


def parse(text: pa.Array, pattern: str | None = None) -> Times:
  """Reads texts.

  Args:
    text: large_string, or null.
    pattern: Of `time_forms.compile_format`; without one all known forms are read.
  """
  if pattern is None:
    try:  # Most logs are in the one form that Arrow reads by itself. To learn from all texts that it is not is slow.
      _cast(text[:_TRIED])
      return Times(_within(_cast(text)), np.zeros(len(text), bool))
    except pa.ArrowInvalid:
      pass
  found = _Found(len(text))
  text = pc.ascii_trim_whitespace(text)
  if pattern is None:
    found.add_digits(text)
    found.add_by_day(text)
  for form in (pattern,) if pattern else time_forms.KNOWN:
    found.add(text, form)
  if pattern is None:
    found.add_others(text)
  return Times(_within(pa.array(found.values, mask=~found.is_good)), found.ambiguous)


def from_numbers(values: pa.Array) -> Times:
  """Reads numbers, which are seconds, milli-, micro- or nanoseconds since 1970 by their size."""
  if pa.types.is_floating(values.type):
    is_number = pc.and_(pc.is_finite(values), pc.less(pc.abs(values), float(1 << 62)))
    values = pc.if_else(is_number, values, None).cast(pa.float64()).cast(pa.decimal128(38, 6))
  return parse(values.cast(pa.large_string()), None)


class _Found:
  """What is found for each text so far.

  Attributes:
    values: int64 `[rows]`, microseconds.
    is_good: bool `[rows]`, which ones are times.
    ambiguous: bool `[rows]`, which ones can be read in two ways.
  """

  def __init__(self, rows: int):
    self.values = np.zeros(rows, np.int64)
    self.is_good, self.ambiguous = np.zeros(rows, bool), np.zeros(rows, bool)
    self._is_open = np.ones(rows, bool)

  def add(self, text: pa.Array, pattern: str) -> None:
    """Reads those of the texts that have the pattern, if no earlier one had."""
    rows, fields = self._match(text, pattern)
    if len(rows):
      parts = {field.name: fields.field(field.name) for field in fields.type}
      self.ambiguous[rows] = time_parts.is_ambiguous(parts)
      self.values[rows], self.is_good[rows] = time_parts.assemble(parts)
      self.is_good[rows] &= ~self.ambiguous[rows]

  def add_by_day(self, text: pa.Array) -> None:
    """Reads texts with a plain clock as days, of which there are few, and clocks: an order of magnitude faster."""
    rows = np.flatnonzero(self._is_open)
    text = text.take(pa.array(rows))
    places = pc.find_substring_regex(text, _CLOCK).fill_null(-1).to_numpy()
    for place in np.unique(places)[:_MOST_PLACES].tolist():
      of_place = np.flatnonzero(places == place)
      part = text.take(pa.array(of_place))
      tail = pc.utf8_slice_codeunits(part, place + _CLOCK_LENGTH)
      is_plain = pc.match_substring_regex(tail, _PLAIN_TAIL)
      if place >= 0 and is_plain.true_count:
        part, tail, of_place = part.filter(is_plain), tail.filter(is_plain), of_place[casts.to_mask(is_plain)]
        self._add_clocks(rows[of_place], part, tail, place)

  def _add_clocks(self, rows: np.ndarray, text: pa.Array, tail: pa.Array, place: int) -> None:
    clock, nothing = (pa.scalar(value, text.type) for value in ('00:00:00', ''))
    head = pc.utf8_slice_codeunits(text, 0, place)
    days = pc.binary_join_element_wise(head, clock, tail, nothing).dictionary_encode()
    if len(days.dictionary) * _LEAST_REPEATS > len(rows):
      return
    found, ambiguous = parse(days.dictionary)
    places = days.indices.to_numpy()
    hour, minute, second = (
      pc.utf8_slice_codeunits(text, place + start, place + start + 2).cast(pa.int64()).to_numpy() for start in (0, 3, 6)
    )
    # What is refused here has another look later.
    is_good = casts.to_mask(found.is_valid())[places] & ~ambiguous[places] & (hour < 24) & (minute < 60) & (second < 60)
    times = found.fill_null(0).to_numpy()[places] + ((hour * 60 + minute) * 60 + second) * time_parts.SECOND
    self.values[rows], self.is_good[rows], self._is_open[rows] = times, is_good, ~is_good

  def add_digits(self, text: pa.Array) -> None:
    """Reads those that are numbers."""
    plain = casts.to_mask(pc.match_substring_regex(text, '^[0-9]{1,18}$'))
    if plain.any():  # Most are, and faster to see than to take apart.
      self._is_open &= ~plain
      nothing = pa.array([''] * int(plain.sum()), text.type)
      self._add_counts(np.flatnonzero(plain), text.filter(pa.array(plain)), nothing, nothing)
    if (casts.to_mask(pc.match_substring_regex(text, '^[0-9.+-]+$')) & ~plain).any():
      rows, fields = self._match(text, _DIGITS)
      self._add_counts(rows, *(fields.field(name) for name in ('whole', 'fraction', 'sign')))

  def _add_counts(self, rows: np.ndarray, whole: pa.Array, fraction: pa.Array, sign: pa.Array) -> None:
    self.ambiguous[rows] = casts.to_mask(pc.match_substring_regex(whole, _DATE_OF_DIGITS))
    self.is_good[rows] = ~self.ambiguous[rows]
    counts = whole.cast(pa.uint64()).to_numpy()
    millionths = time_parts.pad(fraction)
    found = (counts // 1_000).astype(np.int64)
    for limit, unit in reversed(_UNITS[:-1]):
      found = np.where(counts < limit, counts.astype(np.int64) * unit + millionths * unit // time_parts.SECOND, found)
    signs = np.where(pc.equal(sign, '-').to_numpy(zero_copy_only=False), -1, 1)
    self.values[rows] = found * signs

  def add_others(self, text: pa.Array) -> None:
    """Reads the others one by one: weeks of ISO 8601, numbers with an exponent."""
    rows = np.flatnonzero(self._is_open)
    for row, value in zip(rows, text.take(pa.array(rows)).to_pylist(), strict=True):
      found = None if value is None else _read_other(value)
      self.is_good[row], self.values[row] = found is not None, found or 0

  def _match(self, text: pa.Array, pattern: str) -> tuple[np.ndarray, pa.StructArray]:
    """Returns which of the texts that none had have the pattern, and its parts in them."""
    rows = np.flatnonzero(self._is_open)
    fields = pc.extract_regex(text if len(rows) == len(text) else text.take(pa.array(rows)), pattern)
    matched = fields.is_valid()
    rows = rows[matched.to_numpy(zero_copy_only=False)]
    self._is_open[rows] = False
    return rows, fields.filter(matched)


def _cast(text: pa.Array) -> pa.Array:
  has_zone = pc.any(pc.match_substring_regex(text, _ENDS_IN_ZONE)).as_py()
  return text.cast(pa.timestamp('us', 'UTC' if has_zone else None)).cast(pa.int64())


def _within(values: pa.Array) -> pa.Array:
  return pc.if_else(pc.and_(pc.greater_equal(values, _FIRST), pc.less_equal(values, _LAST)), values, None)


def _read_other(text: str) -> int | None:
  try:
    if _EXPONENT.fullmatch(text):
      return from_numbers(pa.array([decimal.Decimal(text)], pa.decimal128(38, 6))).values[0].as_py()
    time = datetime.datetime.fromisoformat(text)
    return (time.replace(tzinfo=time.tzinfo or datetime.UTC) - _EPOCH) // datetime.timedelta(microseconds=1)
  except (ValueError, OverflowError, pa.ArrowException):
    return None
