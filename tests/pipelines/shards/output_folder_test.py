import os
import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from apache_beam.io import filesystem
from apache_beam.io import filesystems
import numpy as np

from common import files
from contracts import schema as schema_lib
from pipelines.execution import storage
from pipelines.shards import forgetting
from pipelines.shards import output_folder
from pipelines.shards import shard_writing
from tests.pipelines import fakes
from tests.pipelines import far_filesystem

_SCHEMES = ('', 'far://', 'flat://')
_SPILL = 'spill-' + 'a1' * 16
_LOCK = 'lock-' + 'b2' * 16
_ORIGIN = {'declaration': {'name': 'log'}, 'num_shards': 1, 'input': {'files': 1, 'bytes': 1, 'sha256': 'a'}}


class OutputFolderTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def _make_data_set(self) -> None:
    schema = fakes.Numbers().schema
    example = shard_writing.ClientExamples(fakes.client_id('a'), 'train', np.arange(3), np.zeros(3, np.int8))
    manifest = shard_writing.write_data_set(self.folder, schema, [shard_writing.pack([example])])
    details = {key: value for key, value in manifest.items() if key not in ('format', 'schema')}
    shard_writing.write_manifest(self.folder, schema_lib.Schema.from_json(manifest['schema']), details | _ORIGIN)

  def _names(self) -> list[str]:
    return sorted(os.listdir(self.folder))

  def test_a_new_folder_is_free(self) -> None:
    for folder in (self.folder, os.path.join(self.folder, 'new')):
      self.assertIsNone(output_folder.find_existing(folder, _ORIGIN.copy))

  def test_finds_what_was_made_of_the_same(self) -> None:
    self._make_data_set()
    found = output_folder.find_existing(self.folder, _ORIGIN.copy)
    self.assertEqual((found or {}).get('num_shards'), 1)

  @parameterized.parameters(('num_shards', 2), ('input', ['other']), ('declaration', {'name': 'b'}))
  def test_refuses_what_was_made_otherwise(self, name: str, value: object) -> None:
    self._make_data_set()
    with self.assertRaisesRegex(ValueError, f'found one made with other {name} in .*choose another --output_dir'):
      output_folder.find_existing(self.folder, (_ORIGIN | {name: value}).copy)
    self.assertIsNone(output_folder.find_existing(f'{self.folder}-other', _ORIGIN.copy))
    shutil.rmtree(self.folder)
    self.assertIsNone(output_folder.find_existing(self.folder, (_ORIGIN | {name: value}).copy))

  def test_refuses_a_damaged_data_set(self) -> None:
    self._make_data_set()
    pathlib.Path(self.folder, shard_writing.shard_name(0, 1)).write_bytes(b'half')
    with self.assertRaisesRegex(ValueError, 'shard-00000-of-00001'):
      output_folder.find_existing(self.folder, _ORIGIN.copy)

  def test_what_was_killed_beside_a_data_set_is_removed(self) -> None:
    self._make_data_set()
    names = self._names()
    for name in ('shard-00000-of-00001.g1.arrow.7.part', 'manifest.json.7.part', 'index.g1.arrow.7.part'):
      pathlib.Path(self.folder, name).write_bytes(b'half')
    self.assertIsNotNone(output_folder.find_existing(self.folder, _ORIGIN.copy))
    self.assertEqual(self._names(), names)

  def test_a_broken_manifest_is_said(self) -> None:
    self._make_data_set()
    pathlib.Path(self.folder, 'manifest.json').write_text('{')
    with self.assertRaisesRegex(ValueError, 'manifest.json'):
      output_folder.find_existing(self.folder, _ORIGIN.copy)

  def test_leaves_a_folder_with_other_files_alone(self) -> None:
    pathlib.Path(self.folder, 'thesis.tex').write_text('all my work')
    with self.assertRaisesRegex(ValueError, 'found thesis.tex in '):
      output_folder.find_existing(self.folder, _ORIGIN.copy)
    output_folder.clear(self.folder)
    self.assertEqual(self._names(), ['thesis.tex'])

  @parameterized.parameters(*_SCHEMES)
  def test_removes_what_a_killed_job_left(self, scheme: str) -> None:
    os.makedirs(os.path.join(self.folder, _SPILL))
    left = (
      'shard-00000-of-00008.arrow',
      'shard-00099-of-00100.arrow.7.part',
      'index.arrow.12.part',
      'manifest.json.1.part',
      'pipeline_result.json',
      f'{_SPILL}/part-1.arrow',
    )
    for name in left:
      pathlib.Path(self.folder, name).write_bytes(b'half')
    self.assertIsNone(output_folder.find_existing(scheme + self.folder, _ORIGIN.copy))
    spill_folder = output_folder.prepare(scheme + self.folder)
    self.assertEmpty(storage.list_names(spill_folder))
    with storage.open_atomically(storage.join(spill_folder, 'part-1.arrow')) as file:
      file.write(b'rows')
    self.assertEqual(self._names(), [os.path.basename(spill_folder)])
    self.assertRegex(spill_folder, f'^{scheme}{self.folder}/spill-[0-9a-f]{{32}}$')
    self.assertNotEqual(os.path.basename(spill_folder), _SPILL)
    output_folder.clear(scheme + self.folder)
    self.assertEmpty(self._names())

  def test_a_folder_of_the_users_is_not_ours_whatever_its_name_begins_with(self) -> None:
    for name in ('spill', 'spill-2024'):
      with self.subTest(name):
        path = pathlib.Path(self.folder, name)
        path.mkdir()
        (path / 'oil.csv').write_text('all my data')
        with self.assertRaisesRegex(ValueError, f'found {name} in '):
          output_folder.find_existing(self.folder, _ORIGIN.copy)
        output_folder.clear(self.folder)
        self.assertEqual(os.listdir(path), ['oil.csv'])
        (path / 'oil.csv').unlink()
        path.rmdir()

  @parameterized.parameters(*_SCHEMES)
  def test_a_data_set_that_was_not_seen_is_neither_overwritten_nor_removed(self, scheme: str) -> None:
    self._make_data_set()
    names = self._names()
    with self.assertRaisesRegex(ValueError, 'found a manifest.json that was not there before'):
      output_folder.prepare(scheme + self.folder)
    self.assertEqual(self._names(), names)
    output_folder.new_spill_folder(scheme + self.folder)
    pathlib.Path(self.folder, 'pipeline_result.json').write_text('{}')
    output_folder.clear(scheme + self.folder)
    self.assertContainsSubset(names, self._names())
    self.assertNotIn('pipeline_result.json', self._names())

  @parameterized.parameters('far://', 'flat://')
  def test_a_folder_that_cannot_be_listed_is_not_free(self, scheme: str) -> None:
    self._make_data_set()
    names = self._names()
    with far_filesystem.failing_lists():
      with self.assertRaisesRegex(ValueError, 'Expected a folder that can be written at .*503.*choose another'):
        output_folder.find_existing(scheme + self.folder, _ORIGIN.copy)
      with self.assertRaisesRegex(ValueError, '503'):
        output_folder.prepare(scheme + self.folder)
    self.assertEqual(self._names(), names)

  def test_the_users_rows_go_first(self) -> None:
    os.mkdir(os.path.join(self.folder, _SPILL))
    pathlib.Path(self.folder, 'index.arrow').write_bytes(b'half')
    self.enterContext(mock.patch.object(storage, 'remove', side_effect=KeyboardInterrupt))
    with self.assertRaises(KeyboardInterrupt):
      output_folder.clear(self.folder)
    self.assertEqual(self._names(), ['index.arrow'])

  def test_what_cannot_be_removed_is_said_and_the_rest_goes(self) -> None:
    storage.write_new(f'flat://{self.folder}/{_SPILL}/part-1.arrow', b'rows')
    pathlib.Path(self.folder, 'index.arrow').write_bytes(b'half')
    delete = filesystems.FileSystems.delete

    def delete_files(paths: list[str]) -> None:
      if not paths[0].endswith('/'):
        delete(paths)

    self.enterContext(mock.patch.object(filesystems.FileSystems, 'delete', side_effect=delete_files))
    with self.assertRaisesRegex(OSError, f'^flat://.*/{_SPILL} could not be removed'):
      output_folder.clear(f'flat://{self.folder}')
    self.assertEqual(self._names(), [_SPILL])
    with self.assertRaisesRegex(ValueError, f'Expected a folder that can be written at .*{_SPILL} could not'):
      output_folder.prepare(f'flat://{self.folder}')

  def test_says_where_no_folder_can_be(self) -> None:
    file = pathlib.Path(self.folder, 'file')
    file.write_text('')
    with self.assertRaisesRegex(ValueError, 'Expected a folder that can be written at .*file/shards, found Not a dir'):
      output_folder.prepare(str(file / 'shards'))


class HoldTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = os.path.join(self.create_tempdir().full_path, 'new')

  @parameterized.parameters(*_SCHEMES)
  def test_one_job_at_a_time(self, scheme: str) -> None:
    folder = scheme + self.folder
    message = f'^Expected an output_dir that no other job is writing, found one at work in {folder}: wait for it or '
    with output_folder.hold(folder):
      for _ in range(2):
        with self.assertRaisesRegex(ValueError, message + 'choose another --output_dir'), output_folder.hold(folder):
          self.fail('Two jobs hold the folder.')
      self.assertIsNone(output_folder.find_existing(folder, _ORIGIN.copy))
      output_folder.prepare(folder)
    with output_folder.hold(folder):
      output_folder.clear(folder)
    self.assertEmpty(os.listdir(self.folder))

  @parameterized.parameters(*_SCHEMES)
  def test_a_failed_job_lets_go_and_its_error_comes_through(self, scheme: str) -> None:
    for error in (KeyError, OSError, KeyboardInterrupt):
      with self.assertRaises(error), output_folder.hold(scheme + self.folder):
        raise error
      self.assertEqual(os.path.exists(self.folder), bool(scheme))
    self.assertEmpty(storage.list_names(self.folder))

  def test_a_failed_job_removes_the_folders_that_it_made_and_no_others(self) -> None:
    parent = os.path.dirname(self.folder)
    inner = os.path.join(self.folder, 'a', 'b')
    for left, expected in ((None, []), ('shards.txt', ['new', 'a', 'b', 'shards.txt']), ('b', ['new', 'a', 'b'])):
      with self.subTest(left):
        if left == 'b':
          os.remove(os.path.join(inner, 'shards.txt'))
        with self.assertRaises(KeyError), output_folder.hold(inner):
          if left == 'shards.txt':
            pathlib.Path(inner, left).write_text('of somebody else')
          raise KeyError
        found = [os.path.basename(path) for path in sorted(map(str, pathlib.Path(parent).rglob('*')))]
        self.assertEqual(found, expected)

  def test_a_folder_that_went_between_finding_and_locking_it_is_not_held(self) -> None:
    lock_folder = files.lock_folder

    def lock_and_remove(path: str) -> int:
      folder = lock_folder(path)
      os.rmdir(path)
      return folder

    self.enterContext(mock.patch.object(files, 'lock_folder', lock_and_remove))
    with self.assertRaisesRegex(ValueError, 'no other job'), output_folder.hold(self.folder):
      self.fail('A folder that is gone is held.')

  @parameterized.parameters('far://', 'flat://')
  def test_a_lock_that_a_killed_job_left_is_named(self, scheme: str) -> None:
    os.mkdir(self.folder)
    lock = pathlib.Path(self.folder, _LOCK)
    lock.write_text('')
    message = f'choose another --output_dir, or remove {scheme}{lock} if that job was killed.$'
    with self.assertRaisesRegex(ValueError, message), output_folder.hold(scheme + self.folder):
      self.fail('The lock of another job was overlooked.')
    output_folder.prepare(scheme + self.folder)
    output_folder.clear(scheme + self.folder)
    self.assertEqual(os.listdir(self.folder), [_LOCK])
    lock.unlink()
    with output_folder.hold(scheme + self.folder):
      self.assertLen(os.listdir(self.folder), 1)

  def test_a_lock_that_cannot_be_removed_does_not_hide_what_came_of_the_job(self) -> None:
    failure = filesystem.BeamIOError('403 Forbidden')
    self.enterContext(mock.patch.object(filesystems.FileSystems, 'delete', side_effect=failure))
    with self.assertRaisesRegex(KeyError, 'cause'), output_folder.hold(f'flat://{self.folder}'):
      raise KeyError('cause')

  def test_nobody_is_forgotten_while_a_job_is_at_work(self) -> None:
    os.mkdir(self.folder)
    shard_writing.write_data_set(self.folder, fakes.Numbers().schema, [])
    with output_folder.hold(self.folder), self.assertRaisesRegex(ValueError, 'Expected nobody else to change'):
      forgetting.forget(self.folder, [])

  @parameterized.parameters('far://', 'flat://')
  def test_a_folder_whose_jobs_cannot_be_known_is_not_held(self, scheme: str) -> None:
    held = output_folder.hold(scheme + self.folder)
    with far_filesystem.failing_lists(), self.assertRaisesRegex(ValueError, '503'), held:
      self.fail('The folder is held blindly.')
    self.assertEmpty(os.listdir(self.folder))

  def test_a_folder_that_cannot_be_made_is_one_line(self) -> None:
    pathlib.Path(self.folder).write_text('')
    message = 'Expected a folder that can be written at .*/new, found File exists'
    with self.assertRaisesRegex(ValueError, message), output_folder.hold(self.folder):
      self.fail('A file is held.')


if __name__ == '__main__':
  absltest.main()
