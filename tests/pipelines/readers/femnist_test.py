"""Tests of the handwriting reader, on a small file of the real form and on the real file where it is there."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from pipelines.readers import base
from pipelines.readers import femnist
from tests import layout
from tests.pipelines.readers import reading

_NAME = 'femnist_leaf.npz'
_REAL = pathlib.Path(os.environ.get('POCKETFED_DATA_DIR', '../shared/data'), 'femnist', _NAME)
_COLUMNS = ('writer', 'order', 'image', 'character')


def _arrays() -> dict[str, np.ndarray]:
  """Two complete writers and an extra one, in the file's form; an image is filled with its number."""
  arrays = {'writer_names': np.array(['w1', 'w0']), 'extra_writer_names': np.array(['w2'])}
  for part, first, writers in (('train', 0, [0, 0, 1]), ('test', 3, [1]), ('extra', 4, [0, 0])):
    numbers = np.arange(first, first + len(writers), dtype=np.uint8)
    arrays[f'{part}_images'] = np.broadcast_to(numbers[:, None, None], (len(writers), 28, 28))
    arrays[f'{part}_labels'] = numbers + 10
    arrays[f'{part}_writer'] = np.array(writers, np.uint16)
  return arrays


class FemnistTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), _NAME)

  def _read_arrays(self, **changed: np.ndarray) -> reading.Read:
    np.savez(self.path, **(_arrays() | changed))
    return reading.read(femnist.Femnist(), self.path, *_COLUMNS)

  def test_the_docs_make_the_file_from_what_leaf_writes(self) -> None:
    readme = (layout.ROOT / 'docs/train.md').read_text()
    lines = readme[readme.index('    import glob, json\n') :].split('\n\n')[0].split('\n')
    for part, users in (('train', {'w1': [0, 1], 'w0': [2]}), ('test', {'w0': [3]})):
      folder = self.path.parent / 'data' / part
      folder.mkdir(parents=True)
      data = {
        user: {'x': [[number / 255] * 784 for number in numbers], 'y': [number + 10 for number in numbers]}
        for user, numbers in users.items()
      }
      (folder / 'all_data.json').write_text(json.dumps({'users': list(users), 'user_data': data}))
    program = '\n'.join(line.removeprefix('    ') for line in lines)
    subprocess.run([sys.executable, '-c', program], cwd=self.path.parent, check=True)
    writers, _, images, characters = zip(*reading.read(femnist.Femnist(), self.path, *_COLUMNS).rows, strict=True)
    self.assertEqual(writers, ('w1', 'w1', 'w0', 'w0'))
    self.assertEqual(images, tuple(bytes([number]) * 784 for number in range(4)))
    self.assertEqual(characters, tuple('ABCD'))

  def test_every_image_arrives_with_its_writer_in_the_files_order(self) -> None:
    found = self._read_arrays()
    writers, orders, images, characters = zip(*found.rows, strict=True)
    self.assertEqual(writers, ('w1', 'w1', 'w0', 'w0', 'w2', 'w2'))
    self.assertEqual(orders, tuple(range(6)))
    self.assertEqual(found.positions, list(range(6)))
    self.assertEqual(images, tuple(bytes([number]) * 784 for number in range(6)))
    self.assertEqual(characters, tuple('ABCDEF'))
    self.assertEqual(found.types[0], ['string', 'int64', 'binary', 'string'])

  @parameterized.named_parameters(
    ('other_size', {'test_images': np.zeros((1, 14, 14), np.uint8)}),
    ('other_type', {'test_images': np.zeros((1, 28, 28), np.float32)}),
    ('label_beyond_the_classes', {'extra_labels': np.array([0, 62], np.uint8)}),
    ('negative_label', {'extra_labels': np.array([0, -1])}),
    ('writer_beyond_the_names', {'train_writer': np.array([0, 0, 2], np.uint16)}),
    ('label_missing', {'train_labels': np.zeros(2, np.uint8)}),
  )
  def test_arrays_of_another_form_are_damage(self, changed: dict[str, np.ndarray]) -> None:
    with self.assertRaisesRegex(base.DamagedFile, '^Expected a readable file, found .*femnist_leaf.npz damaged'):
      self._read_arrays(**changed)

  @parameterized.parameters((b'', 'an empty file'), (b'a,b', 'what looks like text'), (b'Obj\x01', 'an Avro file'))
  def test_another_kind_of_file_is_called_what_it_is(self, content: bytes, name: str) -> None:
    self.path.write_bytes(content)
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected the arrays of LEAF in .*femnist_leaf.npz, found {name}:'):
      reading.read(femnist.Femnist(), self.path, 'image')

  @parameterized.parameters(
    ('train_images', '(1099511627776, 28, 28)', '|u1'),
    ('train_images', '(3, 28, 28, 1099511627776)', '|u1'),
    ('train_labels', '(1099511627776,)', '|u1'),
    ('train_writer', '(3,)', '|V1099511627776'),
    ('writer_names', '(2,)', '<U1073741824'),
    ('writer_names', '(1099511627776,)', '<U0'),
    ('train_images', '(' * 5000, '|u1'),
    ('train_labels', '(3,)', '|O'),
  )
  def test_what_a_header_claims_is_not_believed(self, array: str, shape: str, dtype: str) -> None:
    np.savez(self.path, **_arrays())
    with zipfile.ZipFile(self.path) as archive:
      contents = {name: archive.read(name) for name in archive.namelist()}
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    contents[f'{array}.npy'] = b'\x93NUMPY\1\0' + len(header).to_bytes(2, 'little') + header + bytes(784 * 3)
    with zipfile.ZipFile(self.path, 'w') as archive:
      for name, content in contents.items():
        archive.writestr(name, content)
    with self.assertRaisesRegex(base.DamagedFile, 'femnist_leaf.npz damaged'):
      reading.read(femnist.Femnist(), self.path, *_COLUMNS)

  @parameterized.parameters(b'PK', b'PK\x03\x04')
  def test_a_file_without_arrays_is_damaged(self, content: bytes) -> None:
    self.path.write_bytes(content)
    with self.assertRaises(base.DamagedFile):
      reading.read(femnist.Femnist(), self.path, 'image')

  def test_a_truncated_file_is_damaged(self) -> None:
    self._read_arrays()
    self.path.write_bytes(self.path.read_bytes()[:-1000])
    with self.assertRaises(base.DamagedFile):
      reading.read(femnist.Femnist(), self.path, 'image')

  def test_a_missing_column_is_named(self) -> None:
    np.savez(self.path, **_arrays())
    with self.assertRaisesRegex(base.DamagedFile, "Expected a column 'digit' .*, found writer, order, image, char"):
      reading.read(femnist.Femnist(), self.path, 'digit')

  @absltest.skipUnless(_REAL.exists(), f'{_REAL} is not here: set POCKETFED_DATA_DIR')
  def test_the_real_file(self) -> None:
    found = reading.read(femnist.Femnist(), _REAL, *_COLUMNS)
    self.assertLen(found.rows, 36_396)
    self.assertLen({row[0] for row in found.rows}, 377)
    self.assertEqual([row[1] for row in found.rows], list(range(36_396)))


if __name__ == '__main__':
  absltest.main()
