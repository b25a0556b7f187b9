"""Tests that a model folder is complete or does not look complete."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import hashlib
import itertools
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from export import model_folder
from tests.export import fakes


def _fill(staging: str, variants: Sequence[str], content: str = 'first', others: Sequence[str] = ()) -> None:
  for name in (*others, *(f'{name}.tflite' for name in variants)):
    path = pathlib.Path(staging, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
  listed = {name: {'path': f'{name}.tflite'} for name in variants}
  fakes.write_parity(staging, {'source': f'the {content} run', 'variants': listed})


class _Killed(BaseException):
  """Ends an export as a kill does: nothing catches it."""


@contextlib.contextmanager
def _kill_after(steps: int) -> Iterator[None]:
  """Ends whoever renames or removes a file after that many renames and removals."""
  done = itertools.count()

  def limit(function: Callable[..., None]) -> Callable[..., None]:
    def call(*paths: str) -> None:
      if next(done) >= steps:
        raise _Killed
      function(*paths)

    return call

  with mock.patch.object(os, 'replace', limit(os.replace)), mock.patch.object(os, 'remove', limit(os.remove)):
    yield


def _sign(content: bytes) -> bytes:
  return hashlib.sha512(content).digest()


class ModelFolderTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._output = os.path.join(self._folder, 'some', 'model')

  def _publish(
    self,
    variants: Sequence[str] = ('a', 'z'),
    content: str = 'first',
    sign: model_folder.Sign | None = None,
    others: Sequence[str] = (),
  ) -> None:
    with model_folder.stage(self._output) as staging:
      _fill(staging, variants, content, others)
      model_folder.publish(staging, self._output, sign)

  def test_publishes_with_checksums_and_nothing_else(self) -> None:
    self.assertEqual(model_folder.file_name('handwriting', 'dynamic_range'), 'handwriting.dynamic_range.tflite')
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

  def test_files_in_folders(self) -> None:
    others = ('index.html', 'litert/a.js', 'litert/wasm/a.wasm', 'snippets/a.py', 'snippets/b.py')
    self._publish(('a',), others=others)
    self.assertEqual(self._list_checksums(), {'a.tflite', 'parity.json', *others})
    self.assertTrue(model_folder.is_current(self._output, 'the first run'))
    pathlib.Path(self._output, 'snippets/mine.py').write_text('mine')
    pathlib.Path(self._output, 'snippets/b.py').write_text('changed')
    self.assertFalse(model_folder.is_current(self._output, 'the first run'))
    with self.assertRaisesRegex(ValueError, 'found a snippets/b.py that no export wrote or that was changed'):
      self._publish(others=('snippets/b.py',))
    self._publish(('a',), 'second', others=('snippets/c.py',))
    self.assertEqual(self._list_checksums(), {'a.tflite', 'parity.json', 'snippets/c.py'})
    self.assertNotIn('litert', os.listdir(self._output))
    self.assertCountEqual(os.listdir(os.path.join(self._output, 'snippets')), ['b.py', 'c.py', 'mine.py'])

  def test_killed_at_any_step_it_never_lists_a_file_in_a_folder_that_is_not_there(self) -> None:
    for steps in itertools.count():
      self._output = os.path.join(self._folder, f'model-{steps}')
      self._publish(('a',), others=('snippets/a.py', 'litert/a.js'))
      try:
        with _kill_after(steps):
          self._publish(('a',), 'second', others=('snippets/b.py',))
      except _Killed:
        pass
      else:
        break
      with self.subTest(steps):
        self._list_checksums()
        self._publish(('a',), 'third')
        self.assertCountEqual(os.listdir(self._output), ['a.tflite', 'parity.json', 'SHA256SUMS'])
    self.assertEqual(steps, 12)

  def test_removes_only_what_an_export_may_have_written(self) -> None:
    self._publish(('a',))
    outside, notes = pathlib.Path(self._output, '../b.tflite'), pathlib.Path(self._output, 'notes.txt')
    listing = pathlib.Path(self._output, 'SHA256SUMS')
    for path, name in ((outside, '../b.tflite'), (notes, 'notes.txt')):
      path.write_text('first')
      listing.write_text(listing.read_text() + f'{hashlib.sha256(b"first").hexdigest()}  {name}\n')
    self._publish(('a',), 'second')
    self.assertTrue(outside.exists() and notes.exists())

  def test_never_follows_a_link_out_of_the_folder(self) -> None:
    self._publish(('a',), others=('snippets/a.py',))
    inside, outside = os.path.join(self._output, 'snippets'), os.path.join(self._folder, 'elsewhere')
    os.rename(inside, outside)
    os.symlink(outside, inside)
    with self.assertRaisesRegex(ValueError, 'found a snippets/a.py that no export wrote'):
      self._publish(('a',), 'second', others=('snippets/a.py',))
    self._publish(('a',), 'second')
    self.assertEqual(os.listdir(outside), ['a.py'])
    self.assertTrue(os.path.islink(inside))

  def test_names_inside_of_the_folder(self) -> None:
    for name in ('a', 'a.b', 'a/b', '..a', 'a/..b/c', 'a b'):
      self.assertTrue(model_folder.is_inside(name), name)
    for name in ('', '/a', '..', '.', 'a/../b', 'a/..', 'a//b', 'a/', './a', 'a\\b', 'a\0', 'C:/x', 'a\x1b', 'a\u2028'):
      self.assertFalse(model_folder.is_inside(name), name)

  def test_an_export_that_fails_leaves_the_one_before(self) -> None:
    self._publish()
    before = {path.name: path.read_text() for path in pathlib.Path(self._output).iterdir()}
    with self.assertRaises(KeyError), model_folder.stage(self._output) as staging:
      _fill(staging, ('a',), 'second')
      raise KeyError('stopped')
    self.assertEqual({path.name: path.read_text() for path in pathlib.Path(self._output).iterdir()}, before)

  def test_killed_at_any_step_it_is_complete_or_has_no_checksums(self) -> None:
    for steps in itertools.count():
      self._output = os.path.join(self._folder, f'model-{steps}')
      self._publish()
      try:
        with _kill_after(steps):
          self._publish(('b', 'z'), 'second')
      except _Killed:
        pass
      else:
        break
      with self.subTest(steps):
        listed = self._list_checksums()
        if os.path.exists(os.path.join(self._output, 'SHA256SUMS')):
          self.assertIn(listed, ({'a.tflite', 'z.tflite', 'parity.json'}, {'b.tflite', 'z.tflite', 'parity.json'}))
        self._publish(('c', 'z'), 'third')
        self.assertEqual(self._list_checksums(), {'c.tflite', 'z.tflite', 'parity.json'})
        self.assertCountEqual(os.listdir(self._output), ['c.tflite', 'z.tflite', 'parity.json', 'SHA256SUMS'])
        self.assertTrue(model_folder.is_current(self._output, 'the third run'))
    # Two lists of checksums are written, three old files and no signature are removed, four files are moved, one list
    # is removed.
    self.assertEqual(steps, 11)

  def test_killed_at_any_step_it_never_has_the_signature_of_other_checksums(self) -> None:
    for is_signed_again in (True, False):
      for steps in itertools.count():
        self._output = os.path.join(self._folder, f'model-{steps}-{is_signed_again}')
        self._publish(sign=_sign)
        try:
          with _kill_after(steps):
            self._publish(('b', 'z'), 'second', _sign if is_signed_again else None)
        except _Killed:
          pass
        else:
          break
        sums, signature = (pathlib.Path(self._output, name) for name in ('SHA256SUMS', 'SHA256SUMS.sig'))
        with self.subTest(steps=steps, is_signed_again=is_signed_again):
          if sums.exists() and signature.exists():
            self.assertEqual(signature.read_bytes(), _sign(sums.read_bytes()))
          if sums.exists() and 'b.tflite' in sums.read_text():
            self.assertEqual(signature.exists(), is_signed_again)
          self._publish(('c', 'z'), 'third')
          self.assertCountEqual(os.listdir(self._output), ['c.tflite', 'z.tflite', 'parity.json', 'SHA256SUMS'])
      self.assertEqual(steps, 13 if is_signed_again else 11)

  def _list_checksums(self) -> set[str]:
    """Returns the names in SHA256SUMS after checking each file as `sha256sum -c` does; nothing if there is none."""
    names, path = set(), pathlib.Path(self._output, 'SHA256SUMS')
    for line in path.read_text().splitlines() if path.exists() else ():
      digest, _, name = line.partition('  ')
      self.assertEqual(hashlib.sha256(pathlib.Path(self._output, name).read_bytes()).hexdigest(), digest, name)
      names.add(name)
    return names

  @parameterized.parameters('a.tflite', 'parity.json', 'SHA256SUMS', 'SHA256SUMS.sig')
  def test_never_replaces_what_no_export_wrote(self, name: str) -> None:
    os.makedirs(self._output)
    pathlib.Path(self._output, name).write_text('mine')
    with self.assertRaisesRegex(ValueError, f'found a {name} that no export wrote .*: move it away, or choose'):
      self._publish()
    self.assertEqual(os.listdir(self._output), [name])
    os.rename(os.path.join(self._output, name), os.path.join(self._folder, name))
    self._publish()

  def test_is_current_only_with_the_signature_of_the_key(self) -> None:
    self._publish(sign=_sign)
    signature = pathlib.Path(self._output, 'SHA256SUMS.sig')
    self.assertEqual(signature.read_bytes(), _sign(pathlib.Path(self._output, 'SHA256SUMS').read_bytes()))
    for sign, expected in ((None, True), (_sign, True), (lambda content: _sign(content)[::-1], False)):
      self.assertEqual(model_folder.is_current(self._output, 'the first run', sign), expected)
    os.remove(signature)
    self.assertFalse(model_folder.is_current(self._output, 'the first run', _sign))

  def test_never_replaces_a_signature_that_is_none(self) -> None:
    self._publish()
    pathlib.Path(self._output, 'SHA256SUMS.sig').write_text('mine')
    with self.assertRaisesRegex(ValueError, 'found a SHA256SUMS.sig that no export wrote'):
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
      self.assertRaisesRegex(ValueError, '^Expected free disk space for .*, found No space left on .*: delete files'),
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
