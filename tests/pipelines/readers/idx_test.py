"""Tests of MNIST by writer, on small files of the real form and on the real files where they are there."""

import gzip
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from pipelines.readers import base
from pipelines.readers import idx
from tests.pipelines.readers import reading

_REAL = pathlib.Path(os.environ.get('POCKETFED_DATA_DIR', '../shared/data'), 'mnist_by_writer')
_COLUMNS = ('writer', 'order', 'image', 'digit')


def _pack(array: np.ndarray, kind: int) -> bytes:
  return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, '>u4').tobytes() + array.tobytes()


class IdxTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.labels = self.folder / 'qmnist-train-labels-idx2-int.gz'
    self.images = self.folder / 'train-images-idx3-ubyte.gz'
    self._write_labels(5)
    self._write_images(np.arange(4, dtype=np.uint8))

  def _write_labels(self, rows: int) -> None:
    labels = [[number % 10, 4, 900 + number // 2, *[0] * 5] for number in range(rows)]
    self.labels.write_bytes(gzip.compress(_pack(np.array(labels, '>i4'), 12)))

  def _write_images(self, pixels: np.ndarray) -> None:
    images = np.broadcast_to(pixels[:, None, None], (len(pixels), 3, 2))
    self.images.write_bytes(gzip.compress(_pack(images, 8)))

  def _read(self) -> reading.Read:
    return reading.read(idx.Idx(), self.labels, *_COLUMNS)

  def test_images_have_the_writer_and_digit_of_their_row(self) -> None:
    with mock.patch.object(idx, '_IMAGES_PER_BLOCK', 3):
      found = self._read()
    self.assertEqual(found.rows, [(900 + number // 2, number, bytes([number]) * 6, number) for number in range(4)])
    self.assertEqual(found.positions, [0, 1, 2, 3])
    self.assertEqual(found.types, [['int64', 'int64', 'binary', 'uint8']] * 2)

  def test_files_may_be_unpacked(self) -> None:
    packed = self._read()
    self.images.rename(self.folder / 'packed')
    self.images.with_suffix('').write_bytes(gzip.decompress((self.folder / 'packed').read_bytes()))
    self.assertEqual(self._read(), packed)

  def test_more_images_than_labels_are_damage(self) -> None:
    self._write_labels(3)
    with self.assertRaisesRegex(base.DamagedFile, 'train-images.* damaged .more images than labels'):
      self._read()

  @parameterized.parameters('labels', 'images')
  def test_a_damaged_file_is_named(self, name: str) -> None:
    path: pathlib.Path = getattr(self, name)
    content = gzip.decompress(path.read_bytes())
    for damaged in (content[:-1], content + b'x', gzip.compress(content)[:-1]):
      path.write_bytes(damaged)
      with self.assertRaisesRegex(base.DamagedFile, f'found .*{path.name} damaged'):
        self._read()

  @parameterized.parameters('labels', 'images')
  def test_another_kind_of_file_is_called_what_it_is(self, name: str) -> None:
    path: pathlib.Path = getattr(self, name)
    for content, what in ((b'', 'an empty file'), (b'a,b', 'what looks like text'), (b'\x89PNG\r\n\x1a\n', 'a PNG i')):
      path.write_bytes(content)
      with self.assertRaisesRegex(base.DamagedFile, f'^Expected IDX of type .* in .*{path.name}, found {what}'):
        self._read()

  @parameterized.parameters((1 << 32) - 1, 0)
  def test_sizes_that_cannot_be_are_damage(self, size: int) -> None:
    header = b'\0\0\x08\3' + np.array([(1 << 32) - 1, size, size], '>u4').tobytes()
    self.images.write_bytes(header + bytes(100))
    with self.assertRaisesRegex(base.DamagedFile, 'train-images.* damaged .* values in a row'):
      self._read()
    self.labels.write_bytes(b'\0\0\x0c\2' + np.array([(1 << 32) - 1, size], '>u4').tobytes() + bytes(100))
    with self.assertRaisesRegex(base.DamagedFile, 'qmnist-train-labels.* damaged .* values in a row'):
      self._read()

  def test_images_must_lie_beside_the_labels(self) -> None:
    self.images.unlink()
    with self.assertRaisesRegex(base.DamagedFile, 'Expected the images of .* beside it, found no .*: put') as missing:
      self._read()
    self.images = pathlib.Path(str(missing.exception).partition('found no ')[2].removesuffix(': put it there.'))
    self._write_images(np.arange(4, dtype=np.uint8))
    self.assertLen(self._read().rows, 4)

  def test_another_name_than_that_of_the_labels(self) -> None:
    other = self.labels.rename(self.folder / 'other-idx2-int.gz')
    message = "Expected one of QMNIST's label files, found .*other-idx2-int.gz: name qmnist-train-labels"
    with self.assertRaisesRegex(base.DamagedFile, message) as caught:
      reading.read(idx.Idx(), other, 'image')
    self.labels = other.rename(self.folder / str(caught.exception).rpartition('name ')[2].removesuffix('.'))
    self.assertLen(self._read().rows, 4)

  @absltest.skipUnless(_REAL.exists(), f'{_REAL} is not here: set POCKETFED_DATA_DIR')
  def test_the_real_test_images(self) -> None:
    found = reading.read(idx.Idx(), _REAL / 'qmnist-test-labels-idx2-int.gz', 'writer', 'image', 'digit')
    self.assertLen(found.rows, 10_000)
    self.assertLen({row[0] for row in found.rows}, 297)
    labels = gzip.decompress((_REAL / 't10k-labels-idx1-ubyte.gz').read_bytes())[8:]
    self.assertEqual(bytes(row[2] for row in found.rows), labels)


if __name__ == '__main__':
  absltest.main()
