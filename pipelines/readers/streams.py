"""Files as streams of bytes, on any filesystem that Beam knows: unpacked, and cut where a line ends."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import os
from typing import Any, BinaryIO, NamedTuple

from apache_beam.io import filesystems
import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.readers import base

# Of unpacked text, read at once: large enough that a block's overhead vanishes, small enough that memory is bounded.
BLOCK_BYTES = 16 << 20
# Two blocks hold a part and the line that it ends in.
PART_BYTES = 2 * BLOCK_BYTES - (1 << 18)
MAX_LINE_BYTES = 64 << 20
LINE_TOO_LONG = 'line_too_long'

_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'
# The third begins what the parallel `pzstd` writes.
_CODECS = {b'\x1f\x8b\x08': 'gzip', b'\x28\xb5\x2f\xfd': 'zstd', b'\x50\x2a\x4d\x18': 'zstd'}


class Lines(NamedTuple):
  r"""Some whole lines of a file, ended by `\n`, `\r\n` or `\r`.

  Attributes:
    start: Where they begin in the unpacked file.
    text: The lines; the file's last one may have no end.
    too_long: How many lines before them are left out because they are longer than `MAX_LINE_BYTES`.
  """

  start: int
  text: bytes
  too_long: int


def match_files(patterns: Sequence[str]) -> list[str]:
  """Returns the paths that the globs match, on any filesystem that Beam knows: each file once, in the order of places.

  Relative globs give relative paths. The name of a local file is no glob, whatever is in it.

  Raises:
    ValueError: If a glob matches nothing.
  """
  paths: dict[str, str] = {}
  for pattern in patterns:
    found = [pattern] if storage.is_local(pattern) and os.path.isfile(pattern) else _match(pattern)
    if not found:
      raise ValueError(f'Expected a file at {pattern}, found none: check the path or the glob.')
    for path in found:
      paths.setdefault(os.path.realpath(path) if storage.is_local(path) else path, path)
  # However they are spelled, the same files come in the same order: they make the same data set.
  return sorted(paths.values(), key=storage.absolute)


def _match(pattern: str) -> list[str]:
  # Without a folder in front of its first wildcard Beam finds nothing.
  here = '' if not pattern or os.path.isabs(pattern) or not storage.is_local(pattern) else './'
  matches = filesystems.FileSystems.match([here + pattern])[0].metadata_list
  return sorted(match.path.removeprefix(here) for match in matches)


def fingerprint(paths: Sequence[str], is_cancelled: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
  """Returns name, size and SHA-256 of each file: what makes two inputs the same.

  Args:
    paths: The files.
    is_cancelled: As in `storage.describe`.

  Raises:
    ValueError: If one of them cannot be read.
    futures.CancelledError: If `is_cancelled` says so.
  """
  try:
    return [
        {'name': filesystems.FileSystems.split(path)[1]} | storage.describe(path, is_cancelled) for path in paths
    ]
  except OSError as error:
    raise ValueError(f'Expected readable files, found {error}: give files or a glob such as FOLDER/*.jsonl.') from error


@contextlib.contextmanager
def open_unpacked(path: str) -> Iterator[BinaryIO]:
  """Opens a file, through gzip or zstd if its first bytes say so. A truncated one raises an OSError when read."""
  with storage.open_stream(path) as file:
    codec = _codec(file)
    # pyarrow's unpacking, because Python's `zstandard` ends a truncated file without a word.
    yield pa.CompressedInputStream(pa.PythonFile(file, mode='r'), codec) if codec else file


def _codec(file: BinaryIO) -> str | None:
  head = file.read(4)
  file.seek(0)
  return next((codec for magic, codec in _CODECS.items() if head.startswith(magic)), None)


@contextlib.contextmanager
def expect_whole(path: str, errors: tuple[type[Exception], ...] = ()) -> Iterator[None]:
  """Turns OSError, EOFError and `errors` inside the block into a DamagedFile that names the file."""
  kinds: tuple[type[Exception], ...] = (OSError, EOFError, *errors)
  try:
    yield
  except base.DamagedFile:
    raise
  except kinds as error:
    raise damaged(path, str(error) or type(error).__name__) from error


def damaged(path: str, what: str) -> base.DamagedFile:
  """Returns the error for a file that is not whole."""
  found = ' '.join(what.split())[:200]
  return base.DamagedFile(f'Expected a readable file, found {path} damaged ({found}): get a whole copy of it.')


def line_parts(path: str, file: int) -> Iterator[base.Part]:
  """Cuts a file of lines into byte ranges, or leaves it whole if it is packed."""
  with expect_whole(path), storage.open_stream(path) as raw:
    size = 0 if _codec(raw) else raw.seek(0, 2)
  starts = range(0, size, PART_BYTES) or (0,)
  for start, stop in zip(starts, [*starts[1:], None], strict=True):
    yield base.Part(path, file, start, stop)


def read_lines(part: base.Part) -> Iterator[Lines]:
  """Yields the lines that begin in the range of a part, in blocks, without the file's byte order mark.

  Raises:
    DamagedFile: If the file cannot be read to its end.
  """
  with expect_whole(part.path), open_unpacked(part.path) as file:
    for lines in _join_lines(_read_range(file, part.start, part.stop)):
      is_marked = not lines.start and lines.text.startswith(_BYTE_ORDER_MARK)
      yield Lines(len(_BYTE_ORDER_MARK), lines.text[3:], lines.too_long) if is_marked else lines


def _read_range(file: BinaryIO, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
  """Yields pieces, with their places: from the first line that begins at `start` or later up to this for `stop`."""
  position = max(start - 1, 0)
  if position:
    file.seek(position)
  is_inside = not start
  while piece := file.read(BLOCK_BYTES):
    begin = 0 if is_inside else _first_end(piece, 0)
    is_inside = is_inside or begin > 0
    if is_inside:
      is_last = stop is not None and position + len(piece) >= stop
      end = _first_end(piece, max(stop - 1 - position, 0)) if stop is not None and is_last else 0
      yield position + begin, piece[begin:end or len(piece)]
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
