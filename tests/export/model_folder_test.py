"""Tests that a model folder is whole or does not look whole."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from export import model_folder
from tests.export import fakes


def _fill(staging: str, variants: tuple[str, ...] = ('a', 'z'), content: str = 'first') -> None:
  for name in variants:
    pathlib.Path(staging, f'{name}.tflite').write_text(content)
  listed = {name: {'path': f'{name}.tflite'} for name in variants}
  fakes.write_parity(staging, {'source': f'the {content} run', 'variants': listed})


class ModelFolderTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._output = os.path.join(self._folder, 'some', 'model')

  def _publish(self, variants: tuple[str, ...] = ('a', 'z'), content: str = 'first') -> None:
    with model_folder.stage(self._output) as staging:
      _fill(staging, variants, content)
      model_folder.publish(staging, self._output)

  def test_publishes_with_checksums_and_nothing_else(self) -> None:
    self._publish()
    self.assertCountEqual(os.listdir(self._output), ['a.tflite', 'z.tflite', 'parity.json', 'SHA256SUMS'])
    sums = pathlib.Path(self._output, 'SHA256SUMS').read_text().splitlines()
    # sha256sum of the five letters.
    self.assertIn('a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e  a.tflite', sums)
    self.assertLen(sums, 3)

  def test_replaces_an_export_and_removes_its_other_files(self) -> None:
    self._publish()
    pathlib.Path(self._output, 'mine.tflite').write_text('not ours')
    self._publish(('z',), 'second')
    self.assertCountEqual(os.listdir(self._output), ['z.tflite', 'mine.tflite', 'parity.json', 'SHA256SUMS'])
    self.assertEqual(pathlib.Path(self._output, 'z.tflite').read_text(), 'second')

  def test_an_export_that_fails_leaves_the_one_before(self) -> None:
    self._publish()
    before = {path.name: path.read_text() for path in pathlib.Path(self._output).iterdir()}
    with self.assertRaises(KeyError), model_folder.stage(self._output) as staging:
      _fill(staging, ('a',), 'second')
      raise KeyError('stopped')
    self.assertEqual({path.name: path.read_text() for path in pathlib.Path(self._output).iterdir()}, before)

  @parameterized.parameters(range(2, 6))
  def test_one_that_ends_while_publishing_does_not_look_whole(self, moves: int) -> None:
    self._publish()
    real, done = os.replace, list[str]()

    def replace(source: str, target: str) -> None:
      if len(done) == moves:  # The first two are lists of checksums.
        raise OSError('the power went')
      done.append(target)
      real(source, target)

    with model_folder.stage(self._output) as staging:
      _fill(staging, content='second')
      with mock.patch.object(os, 'replace', replace), self.assertRaises(OSError):
        model_folder.publish(staging, self._output)
    self.assertNotIn('parity.json', os.listdir(self._output))
    self._publish(content='third')
    self.assertEqual(pathlib.Path(self._output, 'a.tflite').read_text(), 'third')

  @parameterized.parameters('a.tflite', 'parity.json', 'SHA256SUMS')
  def test_never_replaces_what_no_export_wrote(self, name: str) -> None:
    os.makedirs(self._output)
    pathlib.Path(self._output, name).write_text('mine')
    with self.assertRaisesRegex(ValueError, f'found a {name} that no export wrote .*: move it away, or choose'):
      self._publish()
    self.assertEqual(os.listdir(self._output), [name])
    os.rename(os.path.join(self._output, name), os.path.join(self._folder, name))
    self._publish()

  def test_never_replaces_what_somebody_changed(self) -> None:
    self._publish()
    pathlib.Path(self._output, 'a.tflite').write_text('mine')
    for variants in (('a', 'z'), ('z',)):
      if 'a' in variants:
        with self.assertRaisesRegex(ValueError, 'found a a.tflite that no export wrote or that was changed'):
          self._publish(variants, 'second')
      else:
        self._publish(variants, 'second')
      self.assertEqual(pathlib.Path(self._output, 'a.tflite').read_text(), 'mine')

  def test_is_current_while_nothing_changes(self) -> None:
    self.assertFalse(model_folder.is_current(self._output, 'the first run'))
    self._publish()
    self.assertTrue(model_folder.is_current(self._output, 'the first run'))
    self.assertFalse(model_folder.is_current(self._output, 'the second run'))
    pathlib.Path(self._output, 'mine').write_text('beside it')
    self.assertTrue(model_folder.is_current(self._output, 'the first run'))
    pathlib.Path(self._output, 'z.tflite').write_text('firsT')
    self.assertFalse(model_folder.is_current(self._output, 'the first run'))
    os.remove(os.path.join(self._output, 'z.tflite'))
    self.assertFalse(model_folder.is_current(self._output, 'the first run'))

  def test_clears_what_a_killed_export_left(self) -> None:
    os.makedirs(os.path.join(self._output, '.staging', 'old'))
    with model_folder.stage(self._output) as staging:
      self.assertEmpty(os.listdir(staging))
    self.assertEmpty(os.listdir(self._output))

  def test_keeps_two_exports_apart(self) -> None:
    with (
        model_folder.stage(self._output) as staging,
        self.assertRaisesRegex(ValueError, 'no other export into .*, found one running'),
        model_folder.stage(self._output),
    ):
      self.fail('The second export began.')
    self.assertFalse(os.path.exists(staging))

  def test_says_that_it_cannot_write(self) -> None:
    blocked = os.path.join(self._folder, 'file')
    pathlib.Path(blocked).write_text('')
    for path in (blocked, os.path.join(blocked, 'model')):
      with (
          self.assertRaisesRegex(ValueError, '^Expected a folder that can be written at .*: choose another'),
          model_folder.stage(path),
      ):
        self.fail('The export began.')

  def test_says_that_the_disk_is_full(self) -> None:
    with (
        self.assertRaisesRegex(ValueError, '^Expected room to write in .*, found No space left on device: make room'),
        model_folder.stage(self._output),
        open('/dev/full', 'w') as file,
    ):
      file.write('too much')
    self.assertEmpty(os.listdir(self._output))

  @absltest.skipIf(os.geteuid() == 0, 'root may write everywhere')
  def test_says_that_the_folder_is_read_only(self) -> None:
    os.makedirs(self._output, mode=0o555)
    with (
        self.assertRaisesRegex(ValueError, 'can be written at .*, found Permission denied'),
        model_folder.stage(self._output),
    ):
      self.fail('The export began.')


if __name__ == '__main__':
  absltest.main()
