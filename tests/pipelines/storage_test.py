"""Tests of an output folder on a local disk and on a filesystem that only Beam can reach."""

import hashlib
import os
import pathlib
import tempfile
import threading

from absl.testing import absltest
from absl.testing import parameterized
from apache_beam.io import filesystem
import pyarrow as pa

from pipelines import files
from pipelines import storage
from tests.pipelines import far_filesystem

_WHERE = (('local', ''), ('far', 'far://'))


class StorageTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.disk = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def tearDown(self) -> None:
    super().tearDown()
    self.assertFalse(os.path.exists('far:'), 'A path of another filesystem was taken for one of this disk.')

  def _write(self, path: str, content: bytes) -> None:
    with storage.open_atomically(path) as file:
      file.write(content)

  @parameterized.named_parameters(*_WHERE)
  def test_a_folder_is_made_filled_listed_and_emptied(self, scheme: str) -> None:
    folder = f'{scheme}{self.disk}/a/b'
    self.assertEmpty(storage.list_names(folder))
    storage.make_folder(folder)
    storage.make_folder(folder)
    self.assertEmpty(storage.list_names(folder))
    for name in ('shard-2', 'shard-1'):
      self._write(storage.join(folder, name), b'abc')
    storage.make_folder(storage.join(folder, 'inner'))
    self.assertEqual(storage.list_names(folder), ['inner', 'shard-1', 'shard-2'])
    self.assertEqual(sorted(os.listdir(self.disk / 'a/b')), ['inner', 'shard-1', 'shard-2'])
    for name in ('shard-1', 'shard-1', 'never'):
      storage.remove(storage.join(folder, name))
    self.assertEqual(storage.list_names(folder), ['inner', 'shard-2'])
    storage.remove_folder(folder)
    storage.remove_folder(folder)
    self.assertFalse((self.disk / 'a/b').exists())

  @parameterized.named_parameters(*_WHERE)
  def test_content_is_replaced_whole(self, scheme: str) -> None:
    path = f'{scheme}{self.disk}/file.gz'
    self._write(path, b'old')
    with storage.open_atomically(path) as file:
      file.write(b'new')
      file.flush()
      self.assertEqual(storage.read(path), b'old')
    self.assertEqual(storage.read(path), b'new')
    self.assertEqual(os.listdir(self.disk), ['file.gz'])

  @parameterized.named_parameters(*_WHERE)
  def test_a_failure_leaves_the_old_content_and_no_litter(self, scheme: str) -> None:
    path = f'{scheme}{self.disk}/file'
    self._write(path, b'old')
    with self.assertRaises(KeyboardInterrupt), storage.open_atomically(path) as file:
      file.write(b'half')
      raise KeyboardInterrupt
    self.assertEqual(storage.read(path), b'old')
    self.assertEqual(os.listdir(self.disk), ['file'])

  def test_two_attempts_at_once_leave_one_whole_file(self) -> None:
    path = far_filesystem.url(f'{self.disk}/file')
    both_open = threading.Barrier(2, timeout=30)

    def attempt() -> None:
      with storage.open_atomically(path) as file:
        both_open.wait()
        file.write(b'same bytes')

    with storage.open_atomically(path) as file:
      file.write(b'an attempt before')
    other = threading.Thread(target=attempt)
    other.start()
    with storage.open_atomically(path) as file:
      both_open.wait()
      other.join()
      file.write(b'same bytes')
    self.assertEqual(storage.read(path), b'same bytes')
    self.assertEqual(os.listdir(self.disk), ['file'])

  @parameterized.named_parameters(*_WHERE)
  def test_describe(self, scheme: str) -> None:
    content = b'abc' * 1_000_000
    path = self.disk / 'file.gz'
    path.write_bytes(content)
    self.assertEqual(
        storage.describe(scheme + str(path)), {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
    )
    self.assertEqual(storage.describe(scheme + str(path)), files.describe(str(path)))

  @parameterized.named_parameters(*_WHERE)
  def test_arrow_reads_and_writes_at_random(self, scheme: str) -> None:
    path = f'{scheme}{self.disk}/table.arrow'
    batches = [pa.record_batch({'x': list(range(start, start + 1000))}) for start in (0, 1000, 2000)]
    with storage.open_atomically(path) as file, pa.ipc.new_file(file, batches[0].schema) as writer:
      for batch in batches:
        writer.write_batch(batch)
    with storage.open_random(path) as file:
      reader = pa.ipc.open_file(file)
      self.assertEqual([reader.get_batch(number) for number in (2, 0)], [batches[2], batches[0]])
    self.assertTrue(file.closed)

  @parameterized.named_parameters(*_WHERE)
  def test_what_is_not_there_is_an_os_error(self, scheme: str) -> None:
    path = f'{scheme}{self.disk}/nowhere/file'
    with self.assertRaises(OSError):
      storage.read(path)
    with self.assertRaisesRegex(OSError, 'No such file'), storage.open_atomically(path):
      pass

  @parameterized.named_parameters(*_WHERE)
  def test_a_folder_that_cannot_be_made_is_an_os_error(self, scheme: str) -> None:
    (self.disk / 'file').write_bytes(b'')
    with self.assertRaises(OSError) as caught:
      storage.make_folder(f'{scheme}{self.disk}/file/folder')
    self.assertEqual(storage.explain(caught.exception), 'Not a directory')

  def test_the_words_of_beam(self) -> None:
    self.assertIn('far away', storage.explain(filesystem.BeamIOError('far away')))

  @parameterized.parameters(('nobody://knows', 'Unable to get filesystem'), ('far:///tmp/a*', r'without \*'))
  def test_folders_that_cannot_be_used(self, folder: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      storage.make_folder(folder)

  def test_where(self) -> None:
    self.assertTrue(storage.is_local('/a/b'))
    self.assertTrue(storage.is_local('a:b'))
    self.assertFalse(storage.is_local('gs://a/b'))
    self.assertEqual(storage.absolute('a'), os.path.join(os.getcwd(), 'a'))
    self.assertEqual(storage.absolute('far://a'), 'far://a')
    self.assertEqual(storage.join('/a/', 'b'), '/a/b')
    self.assertEqual(storage.join('far://a/', 'b'), 'far://a/b')


if __name__ == '__main__':
  absltest.main()
