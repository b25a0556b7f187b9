"""Tests that a model folder is whole or does not look whole."""

import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from export import model_folder


def _fill(staging: str, variants: tuple[str, ...] = ('a', 'z'), content: str = 'first') -> None:
  for name in variants:
    pathlib.Path(staging, f'{name}.tflite').write_text(content)
  record = {'variants': {name: {'path': f'{name}.tflite'} for name in variants}}
  pathlib.Path(staging, 'parity.json').write_text(json.dumps(record))


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

  @parameterized.parameters(range(1, 5))
  def test_one_that_ends_while_publishing_does_not_look_whole(self, moves: int) -> None:
    self._publish()
    real, done = os.replace, list[str]()

    def replace(source: str, target: str) -> None:
      if len(done) == moves:  # The first is the list of checksums, in the staging folder.
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
