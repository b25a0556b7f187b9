"""Tests of streams: every line comes once, however a file is packed and cut, and no damaged file looks whole."""

from collections.abc import Callable
import contextlib
import gzip
import hashlib
import os
import pathlib
import re
import tempfile
from typing import BinaryIO
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import pyarrow as pa

from pipelines.execution import storage
from pipelines.readers import base
from pipelines.readers import streams

_LINES = strategies.lists(strategies.sampled_from([b'', b'a', b'bc', b'\n', b'\r', b'\r\n', b'x' * 30]), max_size=30)


def _compress(content: bytes) -> bytes:
  return pa.Codec('zstd').compress(content, asbytes=True)


def _noise(lines: int) -> bytes:
  return b''.join(hashlib.sha256(b'%d' % line).hexdigest().encode() + b'\n' for line in range(lines))


class ReadLinesTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'log')

  def _write(self, content: bytes) -> None:
    pathlib.Path(self.path).write_bytes(content)

  def _read(self, start: int = 0, stop: int | None = None) -> list[streams.Lines]:
    with streams.expect_whole(self.path), streams.open_text(self.path, 'utf-8', 'lines') as text:
      return list(streams.read_lines(text, base.Part(self.path, 0, start, stop)))

  @hypothesis.given(_LINES, strategies.lists(strategies.integers(1, 200), max_size=4), strategies.integers(1, 40))
  def test_parts_cut_anywhere_hold_every_line_once(self, pieces: list[bytes], cuts: list[int], block: int) -> None:
    content = b''.join(pieces)
    self._write(content)
    starts = [0, *sorted(set(cuts))]
    with mock.patch.object(streams, 'BLOCK_BYTES', block):
      parts = [self._read(start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]
    found = [lines for part in parts for lines in part]
    self.assertEqual(b''.join(lines.text for lines in found), content)
    for lines in found:
      self.assertEqual(content[lines.start : lines.start + len(lines.text)], lines.text)
      self.assertTrue(lines.text.endswith((b'\n', b'\r')) or lines is found[-1] or not lines.text)

  @hypothesis.given(strategies.lists(strategies.sampled_from([1, 9, 10, 11, 25])), strategies.integers(3, 10))
  def test_lines_that_are_too_long_are_counted_and_no_other(self, lengths: list[int], block: int) -> None:
    lines = [b'x' * (length - 1) + b'\n' for length in lengths]
    for last in (b'', b'y' * 10, b'y' * 11):
      self._write(b''.join([*lines, last]))
      with mock.patch.multiple(streams, BLOCK_BYTES=block, MAX_LINE_BYTES=10):
        found = self._read()
      kept = [line for line in [*lines, last] if len(line) <= 10]
      self.assertEqual(b''.join(lines.text for lines in found), b''.join(kept))
      self.assertEqual(sum(lines.too_long for lines in found), len(lines) + 1 - len(kept))

  @parameterized.named_parameters(
    ('plain', lambda content: content),
    ('gzip', gzip.compress),
    ('gzip_members', lambda content: gzip.compress(content[:900]) + gzip.compress(content[900:])),
    ('zstd', _compress),
    ('zstd_frames', lambda content: _compress(content[:900]) + _compress(content[900:])),
    ('zstd_after_a_skippable_frame', lambda content: b'\x50\x2a\x4d\x18\4\0\0\0abcd' + _compress(content)),
    ('byte_order_mark', lambda content: b'\xef\xbb\xbf' + content),
  )
  def test_packed_files_are_read_to_their_end(self, pack: Callable[[bytes], bytes]) -> None:
    self._write(pack(_noise(100)))
    with mock.patch.object(streams, 'BLOCK_BYTES', 1000):
      self.assertEqual(b''.join(lines.text for lines in self._read()), _noise(100))

  @parameterized.product(
    pack=[gzip.compress, _compress],
    damage=[
      lambda packed: packed[: len(packed) // 2],
      lambda packed: packed[:-1],
      lambda packed: packed[:8],
      lambda packed: packed + packed[:100],
    ],
  )
  def test_a_damaged_packed_file_is_named(
    self, pack: Callable[[bytes], bytes], damage: Callable[[bytes], bytes]
  ) -> None:
    self._write(damage(pack(_noise(100))))
    expected = f'^Expected a readable file, found {re.escape(self.path)} damaged .*: get a whole copy of it.$'
    with self.assertRaisesRegex(base.DamagedFile, expected):
      self._read()

  def test_a_gzip_file_whose_sum_is_wrong_is_damaged(self) -> None:
    packed = gzip.compress(_noise(100))
    self._write(packed[:500] + bytes([packed[500] ^ 0xFF]) + packed[501:])
    with self.assertRaises(base.DamagedFile):
      self._read()

  def test_an_empty_file_has_no_lines(self) -> None:
    for content in (b'', gzip.compress(b''), _compress(b'')):
      self._write(content)
      self.assertEmpty(self._read())

  def test_only_a_plain_file_is_cut(self) -> None:
    with mock.patch.object(streams, 'PART_BYTES', 1000):
      self._write(_noise(100))
      parts = list(streams.line_parts(self.path, 3))
      self.assertEqual([(part.start, part.stop) for part in parts][:2], [(0, 1000), (1000, 2000)])
      self.assertEqual((parts[-1].start, parts[-1].stop, parts[-1].file), (6000, None, 3))
      self._write(gzip.compress(_noise(100)))
      self.assertEqual(list(streams.line_parts(self.path, 0)), [base.Part(self.path, 0)])
      self._write(b'')
      self.assertEqual(list(streams.line_parts(self.path, 0)), [base.Part(self.path, 0)])

  def test_a_file_that_takes_too_much_memory_can_be_split(self) -> None:
    content, path = _noise(100), pathlib.Path(self.path)
    read = storage.open_stream

    def open_small(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
      if os.path.getsize(name) > len(content) // 2:
        raise MemoryError
      return read(name)

    self.enterContext(mock.patch.object(storage, 'open_stream', open_small))
    self._write(content)
    with self.assertRaisesRegex(base.DamagedFile, 'takes more memory than there is: split it into smaller files.$'):
      self._read()
    found = b''
    for half in (content[: len(content) // 2], content[len(content) // 2 :]):
      path.write_bytes(half)
      found += b''.join(lines.text for lines in self._read())
    self.assertEqual(found, content)

  def test_a_missing_file_is_not_damaged(self) -> None:
    with self.assertRaisesRegex(base.DamagedFile, 'Expected to read .*log, found No such file or directory: see to'):
      list(streams.line_parts(self.path, 0))


class TextTest(parameterized.TestCase):
  @parameterized.parameters((b'', b''), (b'a', b'a\n'), (b'a\r\nb\rc', b'a\n\nb\nc\n'), (b'a\n', b'a\n'))
  def test_every_line_ends_alike(self, text: bytes, ended: bytes) -> None:
    self.assertEqual(streams.end_lines(text), ended)

  @parameterized.parameters((b'', b''), (b'\n', b''), (b'\n\na\n\n\nb\n', b'a\nb\n'), (b'a\n', b'a\n'), (b'a', b'a'))
  def test_empty_lines_are_dropped(self, text: bytes, dropped: bytes) -> None:
    found, ends = streams.drop_empty_lines(text)
    self.assertEqual(found, dropped)
    self.assertEqual(ends.tolist(), [place for place, byte in enumerate(dropped) if byte == ord('\n')])

  @hypothesis.given(strategies.binary() | strategies.text().map(str.encode))
  def test_utf8_is_what_python_decodes(self, text: bytes) -> None:
    try:
      text.decode()
    except UnicodeDecodeError:
      self.assertFalse(streams.is_utf8(text))
    else:
      self.assertTrue(streams.is_utf8(text))


if __name__ == '__main__':
  absltest.main()
