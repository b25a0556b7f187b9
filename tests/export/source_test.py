"""Tests that an export is made again when anything that it depends on has changed."""

import os
import pathlib
import shutil
import sys
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from contracts import client_shards
from export import source
from tests.export import exported
from tests.export import fakes


class SourceTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = pathlib.Path(self.create_tempdir().full_path)
    self._shards = client_shards.ClientShards(fakes.write_shards(str(self._folder / 'shards')))
    self._run_dir = fakes.write_figures(str(self._folder / 'run'), self._shards.path)

  def test_settings(self) -> None:
    settings: list[list[str | None]] = [[], [None], ['public']]
    found = [source.hash_of(self._run_dir, self._shards, ['int8'], None, each) for each in settings]
    self.assertLen(set(found), 3)

  def test_a_snapshot_stays_as_it_was(self) -> None:
    run_dir = str(self._folder / 'another')
    path = pathlib.Path(run_dir, 'public/model.npz')
    with (
      self.assertRaisesRegex(ValueError, f'Expected a released model at {path}, found none'),
      source.snapshot(run_dir),
    ):
      self.fail()

  @parameterized.parameters(
    ('public/model.npz', 'found the model of round 139 and a ledger of round 140: repeat the training command'),
    ('public/privacy.json', 'found the model of round 140 and a ledger of round 139: repeat the training command'),
  )
  def test_refuses_a_model_and_a_ledger_of_two_rounds(self, older: str, message: str) -> None:
    earlier, later = (str(self._folder / name) for name in ('earlier', 'later'))
    exported.release(earlier, 139)
    exported.release(later, 140)
    shutil.copyfile(pathlib.Path(earlier, older), pathlib.Path(later, older))
    with self.assertRaisesRegex(ValueError, message), source.snapshot(later):
      self.fail()

  def _hash(self, *variants: str) -> str:
    return source.hash_of(self._run_dir, self._shards, variants or ('float32',))

  def test_the_run_the_data_and_the_variants(self) -> None:
    found = [self._hash()]
    pathlib.Path(self._run_dir, 'public/privacy.json').write_text('{}')
    found.append(self._hash())
    self._shards.manifest['files'] = {}
    found += [self._hash(), self._hash('float32', 'float16'), self._hash('float16', 'float32')]
    found.append(source.hash_of(self._run_dir, self._shards, ('float32',), settings=[True]))
    self.assertLen(set(found), 6)
    self.assertEqual(self._hash(), found[2])

  def test_all_code_of_ours_that_takes_part(self) -> None:
    root = self._folder / 'code'
    with mock.patch.object(source, '_ROOT', root):
      found = [self._hash()]
      for name in ('common/a.py', 'contracts/a.py', 'export/variants/a.py', 'export/a.j2', 'models/layers/a.py'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        found.append(self._hash())
      self.assertLen(set(found), 6)
      (root / 'export/notes.txt').write_text('not code')
      self.assertEqual(self._hash(), found[-1])
    self.assertNotIn(self._hash(), found)

  def test_the_module_of_a_variant_or_task_of_ones_own(self) -> None:
    module = types.ModuleType('variants_of_mine')
    module.__file__ = os.fspath(self._folder / 'variants_of_mine.py')
    self.enterContext(mock.patch.dict(sys.modules, {'variants_of_mine': module}))
    found = []
    for code in ('one = 1', 'one = 2'):
      pathlib.Path(module.__file__).write_text(code)
      found.append(self._hash('variants_of_mine:ONE'))
      found.append(source.hash_of(self._run_dir, self._shards, ['float32'], 'variants_of_mine:TASK'))
    self.assertLen(set(found), 4)


if __name__ == '__main__':
  absltest.main()
