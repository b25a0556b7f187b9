"""Tests of an output folder on a local disk and on a filesystem that only Beam can reach."""

from concurrent import futures
import hashlib
import json
import os
import pathlib
import stat
import tempfile
import threading
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from apache_beam.io import filesystem
from apache_beam.io import filesystems
import pyarrow as pa

from common import files
from pipelines.execution import storage
from tests.pipelines import far_filesystem

_FOLDERS = (('local', ''), ('far', 'far://'))
_WHERE = (*_FOLDERS, ('flat', 'flat://'))


class StorageTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.disk = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def tearDown(self) -> None:
    super().tearDown()
    for name in ('far:', 'flat:'):
      self.assertFalse(os.path.exists(name), 'A path of another filesystem was taken for one of this disk.')

  def _write(self, path: str, content: bytes) -> None:
    with storage.open_atomically(path) as file:
      file.write(content)

  def test_nobody_else_may_look_into_a_folder_of_ours(self) -> None:
    before = os.umask(0)
    try:
      storage.make_folder(f'{self.disk}/a')
    finally:
      os.umask(before)
    self.assertEqual(stat.S_IMODE(os.stat(self.disk / 'a').st_mode), 0o700)

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
    self._write(storage.join(folder, 'inner', 'deep'), b'abc')
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
      file.write(b'newer')
      file.flush()
      self.assertEqual(storage.read(path), b'old')
    self.assertEqual(storage.read(path), b'newer')
    self.assertEqual(os.listdir(self.disk), ['file.gz'])

  def test_a_file_that_another_attempt_left_is_never_gone(self) -> None:
    path = far_filesystem.url(f'{self.disk}/file')
    self._write(path, b'first')
    inode = (self.disk / 'file').stat().st_ino
    self._write(path, b'again')
    self.assertEqual((self.disk / 'file').stat().st_ino, inode)
    self.assertEqual(storage.read(path), b'first')
    self.assertEqual(os.listdir(self.disk), ['file'])

  @parameterized.parameters('far://', 'flat://')
  def test_names_that_cannot_be_known_are_not_none(self, scheme: str) -> None:
    self._write(f'{scheme}{self.disk}/file', b'abc')
    with far_filesystem.failing_lists(), self.assertRaisesRegex(OSError, '503 Service Unavailable'):
      storage.list_names(f'{scheme}{self.disk}')

  def test_a_store_without_folders_has_no_folder_that_is_missing(self) -> None:
    folder = f'flat://{self.disk}/nowhere'
    self.assertEmpty(storage.list_names(folder))
    with far_filesystem.failing_lists(), self.assertRaisesRegex(OSError, '503 Service Unavailable'):
      storage.list_names(folder)

  def test_the_mark_that_stands_for_an_empty_folder_is_no_name(self) -> None:
    folder = f'flat://{self.disk}'
    self._write(f'{folder}/file', b'abc')
    mark = [filesystem.FileMetadata(path, 0) for path in (f'{folder}/', f'{folder}/file')]
    with mock.patch.object(far_filesystem.FlatFileSystem, '_list', return_value=mark):
      self.assertEqual(storage.list_names(folder), ['file'])

  @parameterized.parameters('far://', 'flat://')
  def test_a_folder_that_stays_though_no_error_came_is_an_error(self, scheme: str) -> None:
    folder = f'{scheme}{self.disk}/spill'
    storage.make_folder(folder)
    self._write(f'{folder}/rows', b'private')
    with mock.patch.object(filesystems.FileSystems, 'delete'), self.assertRaisesRegex(OSError, f'^{folder} could not'):
      storage.remove_folder(folder)

  def test_a_folder_of_which_nobody_knows_whether_it_stays_is_an_error(self) -> None:
    with far_filesystem.failing_lists(), self.assertRaisesRegex(OSError, '503'):
      storage.remove_folder(f'flat://{self.disk}/spill')

  @parameterized.parameters('far://', 'flat://')
  def test_a_folder_that_cannot_be_removed_is_an_error(self, scheme: str) -> None:
    folder = f'{scheme}{self.disk}/spill'
    storage.make_folder(folder)
    self._write(f'{folder}/rows', b'private')
    failure = filesystem.BeamIOError('403 Forbidden')
    self.enterContext(mock.patch.object(filesystems.FileSystems, 'delete', side_effect=failure))
    with self.assertRaisesRegex(OSError, f'^{folder} could not') as caught:
      storage.remove_folder(folder)
    self.assertIs(caught.exception.__cause__, failure)

  @parameterized.named_parameters(*_WHERE)
  def test_a_name_may_look_like_a_pattern(self, scheme: str) -> None:
    for name, content in (('log[1].jsonl', b'abc'), ('log1.jsonl', b'other')):
      (self.disk / name).write_bytes(content)
    self.assertEqual(storage.size(f'{scheme}{self.disk}/log[1].jsonl'), 3)

  def test_a_missing_file_of_this_disk_is_explained_by_the_system(self) -> None:
    with self.assertRaises(OSError) as caught:
      storage.size(str(self.disk / 'nowhere'))
    self.assertEqual(storage.explain(caught.exception), 'No such file or directory')

  @parameterized.named_parameters(*_WHERE)
  def test_writes_a_new_file_in_place(self, scheme: str) -> None:
    storage.write_new(f'{scheme}{self.disk}/lock', b'abc')
    self.assertEqual((self.disk / 'lock').read_bytes(), b'abc')

  @parameterized.named_parameters(*_WHERE)
  def test_a_value_is_read_as_it_was_written(self, scheme: str) -> None:
    storage.write_json({'a': [1, None]}, f'{scheme}{self.disk}/value')
    self.assertEqual(json.loads(storage.read(f'{scheme}{self.disk}/value')), {'a': [1, None]})

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
  def test_describing_a_large_file_can_be_cancelled_at_any_time(self, scheme: str) -> None:
    path = self.disk / 'file'
    path.write_bytes(bytes(5 << 20))
    answers = iter([False, False, True])
    with self.assertRaises(futures.CancelledError):
      storage.describe(scheme + str(path), lambda: next(answers))
    self.assertEmpty(list(answers))

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
    with self.assertRaises(OSError):
      storage.size(path)

  @parameterized.named_parameters(*_FOLDERS)
  def test_no_file_is_made_where_there_is_no_folder(self, scheme: str) -> None:
    path = f'{scheme}{self.disk}/nowhere/file'
    with self.assertRaisesRegex(OSError, 'No such file'), storage.open_atomically(path):
      pass

  @parameterized.named_parameters(*_FOLDERS)
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
