"""Files as streams of bytes, on any filesystem that Beam knows: unpacked, and cut where a line ends."""

from collections.abc import Iterator
import contextlib
import errno
import lzma
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.execution import storage
from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import encodings
from pipelines.readers import packed

# Of unpacked text, read at once: large enough that a block's overhead vanishes, small enough that memory is bounded.
BLOCK_BYTES = 16 << 20
# Two blocks hold a part and the line that it ends in.
PART_BYTES = 2 * BLOCK_BYTES - (1 << 18)
MAX_LINE_BYTES = 64 << 20
ROW_TOO_LARGE = 'row_too_large'

_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'
# Errors of the system that say nothing about the content.
_NOT_THE_CONTENT = frozenset(
  {
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
  }
)


class Lines(NamedTuple):
  r"""Some whole lines of a file, ended by `\n`, `\r\n` or `\r`.

  Attributes:
    start: Where they begin in the unpacked file.
    text: The lines; the file's last one may have no end.
    too_long: How many lines before them are skipped because they are longer than `MAX_LINE_BYTES`.
  """

  start: int
  text: bytes
  too_long: int


class Text(NamedTuple):
  """A file of text, open.

  Attributes:
    file: Its bytes, unpacked; UTF-8 if its own encoding has no lines of bytes.
    encoding: Of those bytes.
  """

  file: packed.Stream | encodings.Utf8Stream
  encoding: str


@contextlib.contextmanager
def open_unpacked(path: str, with_zlib: bool = False) -> Iterator[packed.Stream]:
  """Opens a file, unpacked if its first bytes say that it is packed. A truncated one raises an error when read."""
  with storage.open_stream(path) as file:
    yield packed.unpack(file, path, with_zlib)


@contextlib.contextmanager
def open_text(path: str, encoding: str, what: str) -> Iterator[Text]:
  """Opens a file of text.

  Args:
    path: The file.
    encoding: The one declared; a mark at the beginning says more.
    what: What the file should be, for messages.

  Raises:
    DamagedFile: If it is something else.
  """
  with open_unpacked(path) as stream:
    found = contents.name(stream.head) or contents.name_document(stream.head)
    if found:
      raise wrong_content(path, what, found)
    is_in = encodings.find(stream.head, encoding)
    wide = encodings.looks_wide(stream.head) if is_in == encodings.UTF8 else None
    if wide:
      raise base.DamagedFile(f'Expected text in UTF-8 in {path}, found UTF-16: write encoding = "{wide}" in [input].')
    if encodings.is_wide(is_in):
      yield Text(encodings.Utf8Stream(stream, is_in), encodings.UTF8)
    else:
      yield Text(stream, is_in)


def wrong_content(path: str, what: str, found: str) -> base.DamagedFile:
  """Returns the error for a file that is something else than it should be."""
  return base.DamagedFile(
    f'Expected {what} in {path}, found {found}: give other files, or set format in [input] to what they are.'
  )


@contextlib.contextmanager
def expect_whole(path: str, errors: tuple[type[Exception], ...] = ()) -> Iterator[None]:
  """Turns what is raised over a file's content, and `errors`, inside the block into a DamagedFile that names the file.

  What says nothing about the content, such as a missing permission, gets a message of its own.
  """
  kinds: tuple[type[Exception], ...] = (*packed.ERRORS, *errors)
  try:
    yield
  except base.DamagedFile:
    raise
  except MemoryError as error:
    raise _unreadable(path, 'that it takes more memory than there is', 'split it into smaller files') from error
  except kinds as error:
    if isinstance(error, OSError) and error.errno in _NOT_THE_CONTENT:
      raise _unreadable(path, storage.explain(error), 'see to it that it can be read') from error
    if isinstance(error, lzma.LZMAError) and 'limit' in str(error):
      raise _unreadable(path, 'that unpacking it takes too much memory', 'pack it with xz -9 or less') from error
    raise damaged(path, str(error) or type(error).__name__) from error


def _unreadable(path: str, found: str, remedy: str) -> base.DamagedFile:
  return base.DamagedFile(f'Expected to read {path}, found {found}: {remedy}.')


def damaged(path: str, what: str) -> base.DamagedFile:
  """Returns the error for a file that is not whole."""
  found = ' '.join(what.split())[:200]
  return base.DamagedFile(f'Expected a readable file, found {path} damaged ({found}): get a whole copy of it.')


def line_parts(path: str, file: int, encoding: str = encodings.UTF8) -> Iterator[base.Part]:
  """Cuts a file of lines into byte ranges, or leaves it whole if it is packed or its lines are not lines of bytes."""
  with expect_whole(path), storage.open_stream(path) as raw:
    head = raw.read(contents.HEAD_BYTES)
    is_whole = packed.is_packed(head) or encodings.is_wide(encodings.find(head, encoding))
    size = 0 if is_whole else raw.seek(0, 2)
  starts = range(0, size, PART_BYTES) or (0,)
  for start, stop in zip(starts, [*starts[1:], None], strict=True):
    yield base.Part(path, file, start, stop)


def read_lines(text: Text, part: base.Part) -> Iterator[Lines]:
  """Yields the lines that begin in the range of a part, in blocks, without the file's byte order mark."""
  for lines in _join_lines(_read_range(text.file, part.start, part.stop)):
    is_marked = not lines.start and lines.text.startswith(_BYTE_ORDER_MARK)
    yield Lines(len(_BYTE_ORDER_MARK), lines.text[3:], lines.too_long) if is_marked else lines


def _read_range(
  file: packed.Stream | encodings.Utf8Stream, start: int, stop: int | None
) -> Iterator[tuple[int, bytes]]:
  """Yields pieces, with their places: from the first line that begins at `start` or later up to this for `stop`."""
  position = max(start - 1, 0)
  if position and isinstance(file, packed.Stream):
    file.seek(position)
  is_inside = not start
  while piece := file.read(BLOCK_BYTES):
    begin = 0 if is_inside else _first_end(piece, 0)
    is_inside = is_inside or begin > 0
    if is_inside:
      is_last = stop is not None and position + len(piece) >= stop
      end = _first_end(piece, max(stop - 1 - position, 0)) if stop is not None and is_last else 0
      yield position + begin, piece[begin : end or len(piece)]
      if end:
        return
    position += len(piece)


def _join_lines(pieces: Iterator[tuple[int, bytes]]) -> Iterator[Lines]:
  held: list[bytes] = []
  start = length = 0
  for position, piece in pieces:
    end = max(piece.rfind(b'\n'), piece.rfind(b'\r')) + 1
    start = start if length else position
    if end:
      first = _first_end(piece, 0)
      if length + first > MAX_LINE_BYTES:
        yield Lines(position + first, piece[first:end], 1)
      else:
        yield Lines(start, b''.join([*held, memoryview(piece)[:end]]), 0)
      held, start, length = [], position + end, 0
    length += len(piece) - end
    held.append(piece[end:])
    if length > MAX_LINE_BYTES:
      held.clear()
  if length:
    yield Lines(start, b''.join(held), int(length > MAX_LINE_BYTES))


def _first_end(text: bytes, start: int) -> int:
  """Returns where the first line that ends at `start` or later is over, or 0 if none ends there."""
  newline = text.find(b'\n', start)
  carriage_return = text.find(b'\r', start, newline if newline >= 0 else len(text))
  return max(newline if carriage_return < 0 else carriage_return, -1) + 1


def end_lines(text: bytes) -> bytes:
  r"""Returns the text with `\n` after each line, the last one too, and no `\r`: `\r\n` leaves an empty line."""
  if b'\r' in text:
    text = text.replace(b'\r', b'\n')
  return text if text.endswith(b'\n') or not text else text + b'\n'


def drop_empty_lines(text: bytes) -> tuple[bytes, np.ndarray]:
  """Returns the lines that have a byte before their end, and where each of them ends.

  A file of nothing else would be a million lines a block.
  """
  ends = find_line_ends(text)
  if not len(ends) or (ends[0] and (np.diff(ends) > 1).all()):
    return text, ends
  characters = np.frombuffer(text, np.uint8)
  is_end = characters == ord('\n')
  is_empty = is_end & np.append(True, is_end[:-1])[: len(is_end)]
  dropped = characters[~is_empty].tobytes()
  return dropped, find_line_ends(dropped)


def is_utf8(text: bytes) -> bool:
  """Whether a text is UTF-8, found without decoding it."""
  offsets = pa.py_buffer(np.array([0, len(text)], np.int32))
  try:
    pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(text)]).validate(full=True)
  except pa.ArrowInvalid:
    return False
  return True


def find_line_ends(text: bytes) -> np.ndarray:
  r"""Returns where each `\n` is."""
  return np.flatnonzero(np.frombuffer(text, np.uint8) == ord('\n'))


def chunk_size(ends: np.ndarray) -> int:
  """Returns how much of some lines pyarrow should parse at once: a line at least."""
  return max(_CHUNK_BYTES, 2 * int(np.max(np.diff(ends, prepend=-1), initial=0)))
