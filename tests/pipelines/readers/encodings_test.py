"""Tests of text in other encodings."""

import io

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.readers import encodings

_TEXT = 'user,text\nä,žlutý €\n😀,x\r\n' * 50


def _read(content: bytes, encoding: str, size: int) -> bytes:
  stream = encodings.Utf8Stream(io.BytesIO(content), encoding)
  return b''.join(iter(lambda: stream.read(size), b''))


class EncodingsTest(parameterized.TestCase):
  @parameterized.product(
    encoding=['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'gb18030'], size=[1, 2, 3, 5, 64, 1 << 20]
  )
  def test_a_stream_is_utf8_however_it_is_cut(self, encoding: str, size: int) -> None:
    self.assertEqual(_read(_TEXT.encode(encoding), encoding, size), _TEXT.encode())

  def test_reads_give_all_that_is_asked_for(self) -> None:
    stream = encodings.Utf8Stream(io.BytesIO(_TEXT.encode('utf-16')), 'utf-16')
    self.assertEqual(stream.read(77), _TEXT.encode()[:77])
    self.assertEqual(stream.read(10_000), _TEXT.encode()[77:])

  @parameterized.parameters(
    (b'\xef\xbb\xbfa', 'utf-8'),
    (b'\xff\xfea\0', 'utf-16'),
    (b'\xfe\xff\0a', 'utf-16'),
    (b'\xff\xfe\0\0a\0\0\0', 'utf-32'),
    (b'a', 'cp1252'),
    (b'', 'cp1252'),
  )
  def test_a_mark_says_more_than_the_declaration(self, head: bytes, found: str) -> None:
    self.assertEqual(encodings.find(head, 'windows-1252'), found)

  @parameterized.parameters('utf-8', 'UTF8', 'utf-8-sig', 'latin-1', 'cp1252', 'utf-16', 'shift_jis', 'koi8-r')
  def test_encodings_of_texts_can_be_declared(self, encoding: str) -> None:
    encodings.check(encoding)

  @parameterized.parameters(
    '', 'utf-9', 'base64', 'rot13', 'utf-7', 'iso2022_jp', 'idna', 'unicode_escape', 'cp037', 'cp500'
  )
  def test_others_cannot(self, encoding: str) -> None:
    with self.assertRaisesRegex(ValueError, f"^Expected an encoding such as .*, found '{encoding}': name that of the"):
      encodings.check(encoding)

  @parameterized.parameters(('cp1252', b'a\x81b'), ('ascii', b'a\xe9b'), ('utf-16-le', b'a\0\0\xdcb\0'))
  def test_what_cannot_be_decoded_becomes_no_utf8(self, encoding: str, text: bytes) -> None:
    for found in (encodings.to_utf8(text, encoding), _read(text, encoding, 2)):
      self.assertEqual(found, b'a\xed\xb3\xbfb')
      self.assertRaises(UnicodeDecodeError, found.decode)

  @parameterized.parameters('utf-16-le', 'utf-16-be')
  def test_a_missing_mark_is_noticed(self, encoding: str) -> None:
    self.assertEqual(encodings.looks_wide('user,text\nä,b\n'.encode(encoding)), encoding)

  @parameterized.parameters(b'user,text\n', b'', bytes(100), b'a\0b,c')
  def test_what_has_none_is_not_taken_for_it(self, head: bytes) -> None:
    self.assertIsNone(encodings.looks_wide(head))

  def test_names_of_one_encoding(self) -> None:
    self.assertEqual(encodings.normalize('Latin-1'), encodings.normalize('iso8859_1'))
    self.assertEqual(encodings.find(b'a', 'utf_8_sig'), 'utf-8')
    self.assertTrue(encodings.is_wide(encodings.normalize('UTF_16LE')))
    self.assertFalse(encodings.is_wide('cp1252'))


if __name__ == '__main__':
  absltest.main()
