import hashlib
import pathlib

from absl.testing import absltest

from pipelines.statistics import public_files


class ReadTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = self.create_tempdir().full_path
    pathlib.Path(self.folder, 'words').write_bytes(b'to be')
    self.sha256 = hashlib.sha256(b'to be').hexdigest()

  def test_reads_a_file_beside_the_declaration_and_recognizes_it(self) -> None:
    for declared in ('', self.sha256):
      self.assertEqual(public_files.read(self.folder, 'words', declared), (b'to be', self.sha256))

  def test_refuses_another_file_than_the_declared_one(self) -> None:
    with self.assertRaisesRegex(ValueError, 'the declared sha256, found another words'):
      public_files.read(self.folder, 'words', '0' * 64)

  def test_names_a_file_that_is_not_there(self) -> None:
    with self.assertRaisesRegex(OSError, 'nowhere'):
      public_files.read(self.folder, 'nowhere', '')


if __name__ == '__main__':
  absltest.main()
