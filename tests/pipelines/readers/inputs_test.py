"""Tests of what `--input` means."""

from concurrent import futures
import contextlib
import hashlib
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.readers import inputs
from tests.pipelines import far_filesystem


class FindTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())
    for name in ('b.jsonl', 'a.jsonl', 'c.txt'):
      pathlib.Path(self.folder, name).write_text(name)

  def test_a_file_that_two_globs_match_counts_once(self) -> None:
    found, _ = inputs.find([os.path.join(self.folder, '*.jsonl'), os.path.join(self.folder, 'a.*')])
    self.assertEqual([os.path.basename(path) for path in found], ['a.jsonl', 'b.jsonl'])

  def test_every_glob_must_match(self) -> None:
    with self.assertRaisesRegex(ValueError, r'Expected a file at .*\.csv, found none'):
      inputs.find([os.path.join(self.folder, '*.jsonl'), os.path.join(self.folder, '*.csv')])

  def test_globs_of_the_working_directory_give_paths_in_it(self) -> None:
    self.enterContext(contextlib.chdir(self.folder))
    os.mkdir('more')
    pathlib.Path('more', 'd.jsonl').write_text('d')
    for globs, paths in (
      (['a*.jsonl'], ['a.jsonl']),
      (['./b*', '[a]*'], ['a.jsonl', './b.jsonl']),
      (['m*/*.jsonl', '*.txt'], ['c.txt', 'more/d.jsonl']),
      ([f'../{os.path.basename(self.folder)}/c.*'], [f'../{os.path.basename(self.folder)}/c.txt']),
    ):
      self.assertEqual(inputs.find(globs).paths, paths)

  def test_an_empty_glob_is_not_all_that_is_here(self) -> None:
    self.enterContext(contextlib.chdir(self.folder))
    with self.assertRaisesRegex(ValueError, 'Expected a file at , found none'):
      inputs.find(['a.jsonl', ''])

  def test_a_file_named_in_many_ways_counts_once(self) -> None:
    self.enterContext(contextlib.chdir(self.folder))
    os.symlink('a.jsonl', 'latest')
    names = ['./a.jsonl', 'a.jsonl', os.path.join(self.folder, 'a.jsonl'), 'latest']
    self.assertEqual(inputs.find(names).paths, ['./a.jsonl'])

  def test_a_name_that_looks_like_a_glob_is_a_name(self) -> None:
    path = os.path.join(self.folder, 'log[1].jsonl')
    pathlib.Path(path).write_text('')
    pathlib.Path(self.folder, 'log1.jsonl').write_text('')
    self.assertEqual(inputs.find([path]).paths, [path])

  def test_files_elsewhere_are_matched(self) -> None:
    folder = far_filesystem.url(self.folder)
    found, _ = inputs.find([f'{folder}/*.jsonl', f'{folder}/a*'])
    self.assertEqual(found, [f'{folder}/a.jsonl', f'{folder}/b.jsonl'])

  def test_a_fingerprint_that_nobody_waits_for_is_not_finished(self) -> None:
    with self.assertRaises(futures.CancelledError):
      inputs.fingerprint([os.path.join(self.folder, 'c.txt')], lambda: True)

  def test_the_fingerprint_is_of_the_content(self) -> None:
    found = inputs.fingerprint([os.path.join(self.folder, 'c.txt')])
    self.assertEqual(found, [{'name': 'c.txt', 'bytes': 5, 'sha256': hashlib.sha256(b'c.txt').hexdigest()}])

  def test_a_folder_is_no_file(self) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected readable files, found .*Is a directory'):
      inputs.fingerprint([self.folder])


class FolderTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'logs')
    for name in ('_SUCCESS', '.a.csv.crc', 'a.csv', 'day=1/b.csv', '_temporary/c.csv', 'x/_y=2/d.csv', 'x/.e/f.csv'):
      path = self.folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(name)

  def _names(self, paths: list[str], start: str = '') -> list[str]:
    return [path.removeprefix(f'{start}{self.folder}/') for path in paths]

  @parameterized.parameters('', 'far://', 'flat://')
  def test_a_folder_is_all_that_is_in_it_and_meant(self, scheme: str) -> None:
    for end in ('', '/'):
      found = inputs.find([f'{scheme}{self.folder}{end}'])
      self.assertEqual(self._names(found.paths, scheme), ['a.csv', 'day=1/b.csv', 'x/_y=2/d.csv'])
      self.assertEqual(
        sorted(self._names(found.skipped, scheme)), ['.a.csv.crc', '_SUCCESS', '_temporary/c.csv', 'x/.e/f.csv']
      )

  def test_globs_skip_what_nobody_means(self) -> None:
    found = inputs.find([f'{self.folder}/*'])
    self.assertEqual((self._names(found.paths), self._names(found.skipped)), (['a.csv'], ['.a.csv.crc', '_SUCCESS']))

  def test_what_is_named_is_meant(self) -> None:
    for name in ('_SUCCESS', '_*', '_temporary/*', '_temporary'):
      found = inputs.find([f'{self.folder}/{name}'])
      self.assertEmpty(found.skipped)
      self.assertLen(found.paths, 1)
    self.assertEmpty(inputs.find([f'{self.folder}/*', f'{self.folder}/_SUCCESS', f'{self.folder}/.a*']).skipped)

  def test_a_glob_may_be_of_folders(self) -> None:
    self.assertEqual(self._names(inputs.find([f'{self.folder}/day=*']).paths), ['day=1/b.csv'])

  def test_links_that_lead_back_end_somewhere(self) -> None:
    os.symlink(self.folder, self.folder / 'x' / 'back')
    self.assertEqual(self._names(inputs.find([str(self.folder)]).paths), ['a.csv', 'day=1/b.csv', 'x/_y=2/d.csv'])

  def test_hidden_files_alone_are_named(self) -> None:
    with self.assertRaisesRegex(ValueError, 'found none besides f.csv, whose names begin with . or _: check the path'):
      inputs.find([f'{self.folder}/x/*/f.csv'])


if __name__ == '__main__':
  absltest.main()
