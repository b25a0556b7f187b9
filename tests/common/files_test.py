"""Tests of writing a file whole or not at all."""

from concurrent import futures
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest
import numpy as np

from common import files
from tests import layout


class FilesTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'file'

  def test_content_replaces_what_was_there(self) -> None:
    files.write_atomically(str(self.path), 'old')
    files.write_atomically(str(self.path), b'new')
    self.assertEqual(self.path.read_text(), 'new')
    self.assertEqual(os.listdir(self.folder), ['file'])

  def test_nothing_is_in_place_before_the_end(self) -> None:
    with files.open_atomically(str(self.path)) as file:
      file.write(b'half')
      file.flush()
      self.assertFalse(self.path.exists())
    self.assertTrue(self.path.exists())

  def test_a_failure_leaves_the_old_content_and_no_litter(self) -> None:
    files.write_atomically(str(self.path), 'old')
    with self.assertRaises(KeyboardInterrupt), files.open_atomically(str(self.path)) as file:
      file.write(b'half')
      raise KeyboardInterrupt
    self.assertEqual(self.path.read_text(), 'old')
    self.assertEqual(os.listdir(self.folder), ['file'])

  def test_what_a_killed_program_left_is_removed(self) -> None:
    kill = f"""if True:
        import os
        from common import files
        with files.open_atomically({str(self.path)!r}) as file:
          file.write(b'half')
          file.flush()
          os._exit(9)
    """
    self.assertEqual(subprocess.run([sys.executable, '-c', kill], cwd=layout.ROOT, check=False).returncode, 9)
    others = ['file.7.part.x', 'file2.7.part', 'file.part', 'file.x.part']
    for name in others:
      (self.folder / name).write_text('')
    self.assertLen(os.listdir(self.folder), 1 + len(others))
    with files.open_atomically(str(self.path)) as file:
      file.write(b'of another program')
      file.flush()
      files.write_atomically(str(self.path), 'new')
      self.assertLen(os.listdir(self.folder), 2 + len(others))
    self.assertEqual(sorted(os.listdir(self.folder)), sorted(['file', *others]))

  def test_what_is_not_locked_yet_is_not_taken_for_left(self) -> None:
    part = self.folder / 'file.7.part'
    part.write_text('')
    files.write_atomically(str(self.path), 'new')
    self.assertTrue(part.exists())
    os.utime(part, (0, 0))
    files.write_atomically(str(self.path), 'new')
    self.assertFalse(part.exists())

  def test_a_folder_that_is_not_there_is_an_os_error(self) -> None:
    with self.assertRaises(OSError):
      files.write_atomically(str(self.folder / 'nowhere' / 'file'), '')

  def test_what_is_written_is_described_as_the_file_is(self) -> None:
    with open(self.path, 'wb') as file:
      writer = files.DescribedWriter(file)
      for content in (b'abc', b'', bytearray(b'def'), np.arange(4.0)):
        writer.write(content)
      writer.flush()
      self.assertEqual(writer.describe(), files.describe(str(self.path)))

  def test_describe(self) -> None:
    self.path.write_bytes(b'abc')
    self.assertEqual(files.describe(str(self.path)), {'bytes': 3, 'sha256': hashlib.sha256(b'abc').hexdigest()})

  def test_describing_can_be_cancelled_at_any_time(self) -> None:
    answers = iter([False, True])
    with self.assertRaises(futures.CancelledError):
      files.describe_stream(io.BytesIO(bytes(5 << 20)), lambda: next(answers))

  def test_a_folder_is_locked_until_it_is_closed(self) -> None:
    for _ in range(2):
      folder = files.lock_folder(str(self.folder))
      with self.assertRaises(BlockingIOError):
        files.lock_folder(str(self.folder))
      os.close(folder)


if __name__ == '__main__':
  absltest.main()
