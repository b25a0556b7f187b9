"""MNIST by the person who wrote it: images in IDX files, their writers in the label files of QMNIST."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
from typing import BinaryIO

from apache_beam.io import filesystems
import numpy as np
import pyarrow as pa

from pipelines.readers import base
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values

_COLUMNS = ('writer', 'order', 'image', 'digit')
_IMAGES = {'qmnist-train': 'train-images-idx3-ubyte', 'qmnist-test': 't10k-images-idx3-ubyte'}
_IMAGES_PER_BLOCK = 8192
# By the third and fourth byte of a file: the type of the values and the number of dimensions.
_LABELS = (b'\x00\x00\x0c\x02', np.dtype('>i4'))
_PIXELS = (b'\x00\x00\x08\x03', np.dtype(np.uint8))
_CLASS, _WRITER = 0, 2


@dataclasses.dataclass(frozen=True)
class Idx(base.Reader):
  """Reads the columns `writer`, `order`, `image` (bytes) and `digit`.

  The input names QMNIST's label files (`qmnist-train-labels-idx2-int.gz`); MNIST's images lie beside them. QMNIST has
  more test labels than MNIST images: the first ones are those of the images.
  """

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    yield base.Part(path, file)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    lookup.check(part.path, columns, _COLUMNS)
    with streams.expect_whole(part.path, (ValueError,)), streams.open_unpacked(part.path) as file:
      labels = np.concatenate(list(_read_arrays(file, *_LABELS)))
    images_path = _find_images(part.path)
    order = 0
    with streams.expect_whole(images_path, (ValueError,)), streams.open_unpacked(images_path) as file:
      for images in _read_arrays(file, *_PIXELS):
        table = _make_table(images, labels[order:order + len(images)], order)
        yield base.Block(*values.number_rows(table.select(columns), order), {})
        order += len(images)


def _find_images(path: str) -> str:
  """Returns the file of the images whose labels `path` has.

  Raises:
    DamagedFile: If there is none.
  """
  folder, name = filesystems.FileSystems.split(path)
  wanted = next((images for labels, images in _IMAGES.items() if name.startswith(labels)), None)
  if wanted is None:
    raise base.DamagedFile(f"Expected one of QMNIST's label files, found {path}: name qmnist-train-labels-idx2-int.gz.")
  paths = [filesystems.FileSystems.join(folder, wanted + end) for end in ('.gz', '')]
  found = next((images for images in paths if filesystems.FileSystems.exists(images)), None)
  if found is None:
    raise base.DamagedFile(f'Expected the images of {path} beside it, found no {paths[0]}: put it there.')
  return found


def _read_arrays(file: BinaryIO, magic: bytes, dtype: np.dtype) -> Iterator[np.ndarray]:
  """Yields some rows of an IDX file at a time."""
  if file.read(4) != magic:
    raise ValueError(f'another form than IDX of type {magic[2]} in {magic[3]} dimensions')
  rows, *shape = np.frombuffer(_read_exactly(file, 4 * magic[3]), '>u4').tolist()
  for start in range(0, rows, _IMAGES_PER_BLOCK):
    count = min(_IMAGES_PER_BLOCK, rows - start)
    content = _read_exactly(file, count * math.prod(shape) * dtype.itemsize)
    yield np.frombuffer(content, dtype).reshape(count, *shape)
  if file.read(1):
    raise ValueError(f'more than its {rows} rows')


def _read_exactly(file: BinaryIO, size: int) -> bytes:
  content = file.read(size)
  if len(content) < size:
    raise EOFError('its end is missing')
  return content


def _make_table(images: np.ndarray, labels: np.ndarray, order: int) -> pa.Table:
  if len(labels) < len(images):
    raise ValueError('more images than labels')
  found = {
      'writer': pa.array(labels[:, _WRITER].astype(np.int64)),
      'order': pa.array(np.arange(order, order + len(images))),
      'image': values.pack_images(images),
      'digit': pa.array(labels[:, _CLASS].astype(np.uint8)),
  }
  return pa.table(found)
