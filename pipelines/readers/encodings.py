"""Text in other encodings than UTF-8, turned into UTF-8 on the way."""

import codecs
from typing import Any

UTF8 = 'utf-8'

_EXAMPLES = 'utf-8, latin-1, cp1252, utf-16'
# A file that begins with one of these is in that encoding, whatever is declared; that of UTF-32 begins like UTF-16's.
_MARKS = {
  codecs.BOM_UTF8: UTF8,
  codecs.BOM_UTF32_LE: 'utf-32',
  codecs.BOM_UTF32_BE: 'utf-32',
  codecs.BOM_UTF16_LE: 'utf-16',
  codecs.BOM_UTF16_BE: 'utf-16',
}
# Their lines do not end where a byte is a newline's, or what a byte means depends on bytes far before it.
_STATEFUL = ('utf-7', 'hz', 'iso2022', 'idna', 'punycode', 'unicode', 'raw', 'mbcs', 'oem', 'undefined')
_WIDE = ('utf-16', 'utf-32')
_ERRORS = 'pipelines.readers.encodings'

# Half of a character, which UTF-8 cannot hold: the row that it is in is refused as undecodable.
codecs.register_error(_ERRORS, lambda error: ('\udcff', getattr(error, 'end')))  # noqa: B009


def check(encoding: str) -> None:
  """Raises a ValueError if files cannot be declared to be in this encoding."""
  try:
    codec: Any = codecs.lookup(encoding)
    is_text = codec._is_text_encoding
  except LookupError:
    is_text = False
  if not is_text or codec.name.replace('_', '-').startswith(_STATEFUL) or not _ends_lines(normalize(encoding)):
    raise ValueError(f'Expected an encoding such as {_EXAMPLES}, found {encoding!r}: name that of the files.')


def find(head: bytes, declared: str) -> str:
  """Returns the encoding of a file by its first bytes, else the one declared."""
  return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), normalize(declared))


def normalize(encoding: str) -> str:
  """Returns the one name of an encoding; that of UTF-8 also where a mark is declared, as any file may have one."""
  name = codecs.lookup(encoding).name.replace('_', '-')
  return UTF8 if name == 'utf-8-sig' else name


def _ends_lines(encoding: str) -> bool:
  """Whether lines end with the bytes of ASCII, by which they are found; EBCDIC has others."""
  return is_wide(encoding) or '\r\n'.encode(encoding) == b'\r\n'


def is_wide(encoding: str) -> bool:
  """Whether a character takes two bytes or more, so that lines cannot be found in the bytes."""
  return encoding.startswith(_WIDE)


def looks_wide(head: bytes) -> str | None:
  """Returns the encoding of a text without a mark that is probably UTF-16, or None."""
  if len(head) < 4 or b'\0\0' in head:
    return None
  for offset, name in ((1, 'utf-16-le'), (0, 'utf-16-be')):
    half = head[offset::2]
    if half.count(0) > len(half) * 2 // 3 and 0 not in head[1 - offset :: 2]:
      return name
  return None


def to_utf8(text: bytes, encoding: str) -> bytes:
  """Returns a text as UTF-8; what cannot be decoded becomes bytes that are no UTF-8."""
  return text if encoding == UTF8 else text.decode(encoding, _ERRORS).encode(UTF8, 'surrogatepass')


class Utf8Stream:
  """A file in another encoding, read as UTF-8."""

  def __init__(self, file: Any, encoding: str):
    self._file = file
    self._decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
    self._ready = b''
    self._is_over = False

  def read(self, size: int) -> bytes:
    """Returns as many bytes as asked for, fewer only at the end."""
    pieces, found = [self._ready], len(self._ready)
    while found < size and not self._is_over:
      block = self._file.read(size)
      self._is_over = not block
      piece = self._decoder.decode(block, final=not block).encode(UTF8, 'surrogatepass')
      pieces.append(piece)
      found += len(piece)
    text = b''.join(pieces)
    self._ready = text[size:]
    return text[:size]
