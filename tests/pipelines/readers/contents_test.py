"""Tests of what the first bytes of a file say."""

import io
import tarfile

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.readers import contents

# A record of one byte, as TensorFlow writes it.
_TFRECORD = bytes.fromhex('01000000000000000175de4161786ee428')


class ContentsTest(parameterized.TestCase):
  @parameterized.parameters(
    (b'PAR1abc', 'a Parquet file'),
    (b'Obj\x01', 'an Avro file'),
    (b'\x89PNG\r\n\x1a\nabc', 'a PNG image'),
    (b'%PDF-1.7', 'a PDF document'),
    (b'ORC\x00', 'an ORC file'),
    (b'ORC,is,a,word\n', None),
    (b'user,text\n', None),
    (b'', None),
  )
  def test_files_are_called_what_they_are(self, head: bytes, name: str | None) -> None:
    self.assertEqual(contents.name(head), name)

  def test_a_tar_archive_says_so_later(self) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w') as tar:
      tar.addfile(tarfile.TarInfo('log.csv'))
    self.assertEqual(contents.name(archive.getvalue()), 'a tar archive')

  def test_a_tfrecord_file_begins_with_a_checked_length(self) -> None:
    self.assertEqual(contents.masked_crc(_TFRECORD[:8]), int.from_bytes(_TFRECORD[8:12], 'little'))
    self.assertTrue(contents.is_tfrecord(_TFRECORD))
    self.assertFalse(contents.is_tfrecord(b'\2' + _TFRECORD[1:]))
    self.assertFalse(contents.is_tfrecord(_TFRECORD[:11]))

  @parameterized.parameters((b'', 'an empty file'), (b'a,b\n', 'what looks like text'), (b'\0\1', 'other bytes'))
  def test_a_binary_file_of_no_known_form(self, head: bytes, name: str) -> None:
    self.assertEqual(contents.name_any(head), name)

  @parameterized.parameters(
    (b'[{"a": 1},\n', 'a JSON array'),
    (b'\xef\xbb\xbf [\n {', 'a JSON array'),
    (b'[1, 2]\n', None),
    (b'<!DOCTYPE html>', 'a web page or XML'),
    (b'<unknown>,1\n', None),
  )
  def test_documents_that_are_no_lines(self, head: bytes, name: str | None) -> None:
    self.assertEqual(contents.name_document(head), name)

  @parameterized.parameters(
    (b'user,text\n', 'csv'),
    (b'user\ttext, or so\n', 'tsv'),
    (b'user,"a tab\t",text\n', 'csv'),
    (b'\n{"a": "b,c"}\n', 'jsonl'),
    (b'nothing\n', None),
    (b'', None),
  )
  def test_the_format_of_a_text(self, head: bytes, found: str | None) -> None:
    self.assertEqual(contents.find_text_format(head), found)

  @parameterized.parameters((b'{"a": 1}\n{"b', True), (b'{"a"\n', False), (b'{,}', False), (b'[' * 4000, False))
  def test_a_line_of_json(self, head: bytes, is_json: bool) -> None:
    self.assertEqual(contents.is_json_line(head), is_json)


if __name__ == '__main__':
  absltest.main()
