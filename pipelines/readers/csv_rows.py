"""Where rows of delimited values end, for files with a row that is too large for pyarrow's reader."""

from collections.abc import Iterator
import re
from typing import Any

from pipelines.readers import streams


class OpenQuote(ValueError):
  """A quote that is never closed."""


class Splitter:
  """Cuts text into whole rows, a block at a time, and counts the rows that are larger than a block.

  Quotes count as pyarrow counts them: one opens a value only at the value's beginning.

  Args:
    delimiter: Between two values.
    quote: One character.
    escape: Takes the meaning from the next character; '' if there is none.

  Attributes:
    too_large: How many rows were too large.
  """

  def __init__(self, delimiter: str, quote: str, escape: str):
    d, q, e = (re.escape(sign.encode()) for sign in (delimiter, quote, escape))
    escaped = rb'|' + e + rb'.' if e else b''
    quoted = q + rb'(?:[^' + q + e + rb']++|' + q + q + escaped + rb')*+' + q
    plain = rb'(?:[^\r\n' + d + e + rb']++' + escaped + rb')*+'
    value = rb'(?:' + quoted + plain + rb'|(?!' + q + rb')' + plain + rb')'
    # Nothing is tried twice: it takes time in proportion to the text, and no memory.
    self._rows = re.compile(rb'(?>' + value + rb'(?:' + d + value + rb')*+[\r\n])*+', re.DOTALL)
    self._in_value = re.compile(rb'[\r\n' + d + e + rb']')
    self._in_quotes = re.compile(rb'[' + q + e + rb']')
    self._delimiter, self._quote, self._escape = delimiter.encode(), quote.encode(), escape.encode()
    self._state = 'start'
    self.too_large = 0

  def split(self, file: Any) -> Iterator[bytes]:
    """Yields whole rows.

    Raises:
      OpenQuote: If the last row has a quote that is not closed.
    """
    held = b''
    while block := file.read(streams.BLOCK_BYTES):
      held += block
      if self._state != 'start':
        held = self._skip(held)
      if self._state == 'start':
        end = self._end_of_rows(held)
        if end:
          yield held[:end]
        held = held[end:]
      if len(held) > streams.BLOCK_BYTES and self._state == 'start':
        self.too_large += 1
        self._state = 'value begins'
        held = self._skip(held)
    yield from self._finish(held)

  def _end_of_rows(self, text: bytes) -> int:
    found = self._rows.match(text)
    return found.end() if found else 0

  def _finish(self, held: bytes) -> Iterator[bytes]:
    held += b'\n'
    if self._state != 'start':
      held = self._skip(held + b'\n')
      if self._state != 'start':
        raise OpenQuote
    end = self._end_of_rows(held)
    if end < len(held):
      raise OpenQuote
    if held:
      yield held

  def _skip(self, text: bytes) -> bytes:
    """Returns what comes after the row that is too large, or what has to be seen together with the next block."""
    place = 0
    # What one character means may depend on the next.
    while place < len(text) - 1 and self._state != 'start':
      place = getattr(self, f'_skip_{self._state.replace(" ", "_")}')(text, place)
    return text[place:]

  def _skip_value_begins(self, text: bytes, place: int) -> int:
    is_quoted = text.startswith(self._quote, place)
    self._state = 'quotes' if is_quoted else 'value'
    return place + is_quoted

  def _skip_value(self, text: bytes, place: int) -> int:
    found = self._in_value.search(text, place, len(text) - 1)
    if not found:
      return len(text) - 1
    if found[0] == self._escape:
      return found.end() + 1
    self._state = 'value begins' if found[0] == self._delimiter else 'start'
    return found.end()

  def _skip_quotes(self, text: bytes, place: int) -> int:
    found = self._in_quotes.search(text, place, len(text) - 1)
    if not found:
      return len(text) - 1
    if found[0] == self._escape or text.startswith(self._quote, found.end()):
      return found.end() + 1
    self._state = 'value'
    return found.end()
