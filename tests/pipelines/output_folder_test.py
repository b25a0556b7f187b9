import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from pipelines import output_folder
from pipelines import schema as schema_lib
from pipelines.shards import shard_writing
from tests.pipelines import fakes

_ORIGIN = {'declaration': {'name': 'log'}, 'num_shards': 1, 'input': []}


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

  def test_refuses_a_damaged_data_set(self) -> None:
    self._make_data_set()
    pathlib.Path(self.folder, shard_writing.shard_name(0, 1)).write_bytes(b'half')
    with self.assertRaisesRegex(ValueError, 'shard-00000-of-00001'):
      output_folder.find_existing(self.folder, _ORIGIN.copy)

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

  def test_removes_what_a_killed_job_left(self) -> None:
    os.makedirs(os.path.join(self.folder, 'spill', 'more'))
    left = ('shard-00000-of-00008.arrow', 'shard-00099-of-00100.arrow.7.part', 'index.arrow.12.part',
            'pipeline_result.json', 'manifest.json')  # fmt: skip
    for name in left:
      pathlib.Path(self.folder, name).write_bytes(b'half')
    output_folder.prepare(self.folder)
    self.assertEqual(self._names(), ['spill'])
    self.assertEmpty(os.listdir(os.path.join(self.folder, 'spill')))
    output_folder.clear(self.folder)
    self.assertEmpty(self._names())

  def test_says_where_no_folder_can_be(self) -> None:
    file = pathlib.Path(self.folder, 'file')
    file.write_text('')
    with self.assertRaisesRegex(ValueError, 'Expected a folder that can be written at .*file/shards, found Not a dir'):
      output_folder.prepare(str(file / 'shards'))


if __name__ == '__main__':
  absltest.main()
