"""Tests of packed files: whatever packs them, all of their content comes, and no damaged one looks whole."""

import bz2
from collections.abc import Callable, Mapping
import contextlib
import gzip
import hashlib
import io
import lzma
import zipfile
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa

from pipelines.readers import base
from pipelines.readers import packed
from pipelines.readers import streams

_CONTENT = b''.join(hashlib.sha256(b'%d' % line).hexdigest().encode() + b'\n' for line in range(2000))


def _zip(content: bytes, method: int = zipfile.ZIP_DEFLATED, others: Mapping[str, bytes] | None = None) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', method) as archive:
    for name, text in {'log.csv': content, **(others or {})}.items():
      archive.writestr(name, text)
  return file.getvalue()


def _zstd(content: bytes) -> bytes:
  return pa.Codec('zstd').compress(content, asbytes=True)


def _lz4(content: bytes) -> bytes:
  return pa.Codec('lz4').compress(content, asbytes=True)


def _read(content: bytes, size: int = 1000, with_zlib: bool = False) -> bytes:
  stream = packed.unpack(io.BytesIO(content), 'log', with_zlib)
  return b''.join(iter(lambda: stream.read(size), b''))


_MEMBERS: dict[str, Callable[[bytes], bytes]] = {'gzip': gzip.compress, 'bz2': bz2.compress, 'xz': lzma.compress}
_PACKERS: dict[str, Callable[[bytes], bytes]] = {**_MEMBERS, 'zip': _zip, 'zstd': _zstd, 'lz4': _lz4}


class PackedTest(parameterized.TestCase):
  @parameterized.product(name=sorted(_PACKERS), size=[7, 1000, 1 << 20])
  def test_content_comes_back(self, name: str, size: int) -> None:
    whole = _PACKERS[name](_CONTENT)
    self.assertTrue(packed.is_packed(whole))
    self.assertEqual(_read(whole, size), _CONTENT)
    self.assertEqual(_read(_PACKERS[name](b'')), b'')

  def test_reads_give_all_that_is_asked_for(self) -> None:
    for pack in _PACKERS.values():
      stream = packed.unpack(io.BytesIO(pack(_CONTENT)), 'log')
      self.assertEqual(stream.head, _CONTENT[:4096])
      self.assertLen(stream.read(100_000), 100_000)

  @parameterized.product(name=sorted(_MEMBERS), padding=[b'', b'\0', b'\0' * 512, b'\0' * 1_000_000])
  def test_members_follow_one_another_and_zeros_are_padding(self, name: str, padding: bytes) -> None:
    pack = _MEMBERS[name]
    self.assertEqual(_read(pack(b'abc') + pack(_CONTENT) + padding), b'abc' + _CONTENT)
    self.assertEqual(_read(pack(b'abc') + padding + pack(b'def')), b'abcdef')

  @parameterized.product(name=sorted(_PACKERS), cut=[-1, -9, -500])
  def test_what_is_cut_is_damaged(self, name: str, cut: int) -> None:
    with self.assertRaises(packed.ERRORS):
      _read(_PACKERS[name](_CONTENT)[:cut])

  @parameterized.parameters('gzip', 'bz2', 'xz', 'zip')
  def test_what_is_changed_is_damaged(self, name: str) -> None:
    whole = _PACKERS[name](_CONTENT)
    with self.assertRaises(packed.ERRORS):
      _read(whole[:5000] + bytes([whole[5000] ^ 0x55]) + whole[5001:])

  @parameterized.parameters(*sorted(_PACKERS))
  def test_every_changed_byte_and_pair_of_bytes_is_damage_or_no_change(self, name: str) -> None:
    whole = (
      _PACKERS[name]('caf\u00e9'.encode() * 3) if name != 'zip' else _zip(b'text', others={'__MACOSX/\u00e9': b'x'})
    )
    for place in range(len(whole)):
      for changed in (b'\xff', b'\0', b'\xff\xff', b'\x80', bytes([whole[place] ^ 8]), bytes([whole[place] ^ 1])):
        damaged = whole[:place] + changed + whole[place + len(changed) :]
        with contextlib.suppress(base.DamagedFile, *packed.ERRORS):
          _read(damaged)

  @parameterized.product(name=sorted(_MEMBERS))
  def test_something_else_after_the_end_is_damage(self, name: str) -> None:
    for rest in (b'junk', b'\0\0junk'):
      with self.assertRaisesRegex(EOFError, 'something else after its end'):
        _read(_MEMBERS[name](_CONTENT) + rest)

  @parameterized.parameters(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
  def test_all_methods_of_zip(self, method: int) -> None:
    self.assertEqual(_read(_zip(_CONTENT, method)), _CONTENT)

  def test_what_systems_add_to_a_zip_archive_is_no_file_of_it(self) -> None:
    others = {'__MACOSX/._log.csv': b'x', '.DS_Store': b'x', 'more/': b''}
    self.assertEqual(_read(_zip(_CONTENT, others=others)), _CONTENT)

  def test_a_zip_archive_of_several_files_is_named(self) -> None:
    expected = r'^Expected one file in the zip archive log, found 2 \(log.csv, b.csv\): unpack it'
    with self.assertRaisesRegex(base.DamagedFile, expected):
      _read(_zip(_CONTENT, others={'b.csv': b'x'}))

  def test_a_zip_archive_whose_file_has_no_name(self) -> None:
    # Names end at a zero byte.
    self.assertEqual(_read(_zip(_CONTENT).replace(b'log.csv', b'\0og.csv')), _CONTENT)

  def test_a_zip_archive_with_a_password_is_named(self) -> None:
    whole = bytearray(_zip(_CONTENT))
    for magic, place in ((b'PK\3\4', 6), (b'PK\1\2', 8)):
      whole[whole.index(magic) + place] |= 1
    with self.assertRaisesRegex(base.DamagedFile, '^Expected a zip archive that can be read, found log with a passw'):
      _read(bytes(whole))

  def test_an_xz_file_that_asks_for_gigabytes_is_refused(self) -> None:
    whole = bytearray(lzma.compress(_CONTENT))
    self.assertEqual(whole[14:16], b'\x21\1')  # The filter LZMA2 with one byte: the size of its dictionary.
    whole[16] = 40  # 4 GiB.
    end = 12 + 4 * (whole[12] + 1)  # Of the header of the block, which ends with its checksum.
    whole[end - 4 : end] = zlib.crc32(whole[12 : end - 4]).to_bytes(4, 'little')
    with self.assertRaisesRegex(packed.ERRORS, 'Memory usage limit'):
      _read(bytes(whole))
    with (
      self.assertRaisesRegex(base.DamagedFile, 'unpacking it takes too much memory: pack it with xz -9 or less.'),
      streams.expect_whole('log'),
    ):
      _read(bytes(whole))
    self.assertEqual(_read(lzma.compress(_CONTENT, preset=9)), _CONTENT)

  def test_zlib_is_unpacked_where_no_text_can_be(self) -> None:
    whole = zlib.compress(_CONTENT)
    self.assertEqual(_read(whole), whole)
    self.assertEqual(_read(whole, with_zlib=True), _CONTENT)
    self.assertEqual(_read(b'x is no zlib', with_zlib=True), b'x is no zlib')

  def test_a_text_is_as_it_is(self) -> None:
    stream = packed.unpack(io.BytesIO(_CONTENT), 'log')
    self.assertFalse(packed.is_packed(stream.head))
    self.assertEqual(stream.read(5000), _CONTENT[:5000])
    stream.seek(10)
    self.assertEqual(stream.read(100_000), _CONTENT[10:100_010])


if __name__ == '__main__':
  absltest.main()
