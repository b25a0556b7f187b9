"""MNIST by the person who wrote it: images in IDX files, their writers in the label files of QMNIST."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import math

from apache_beam.io import filesystems
import numpy as np
import pyarrow as pa

from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import packed
from pipelines.readers import streams
from pipelines.readers import values

_COLUMNS = ('writer', 'order', 'image', 'digit')
_IMAGES = {'qmnist-train': 'train-images-idx3-ubyte', 'qmnist-test': 't10k-images-idx3-ubyte'}
_IMAGES_PER_BLOCK = 8192
# By the third and fourth byte of a file: the type of the values and the number of dimensions.
_LABELS = (b'\x00\x00\x0c\x02', np.dtype('>i4'))
_PIXELS = (b'\x00\x00\x08\x03', np.dtype(np.uint8))
_CLASS, _WRITER = 0, 2
_MOST_COLUMNS = 64


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
    images_path = _find_images(part.path)
    with _open(part.path, *_LABELS) as labels, _open(images_path, *_PIXELS) as images:
      labels.check_shape(_WRITER + 1, _MOST_COLUMNS)
      images.check_shape(1, streams.BLOCK_BYTES)
      # One at a time: the files say how many rows there are, and may say anything.
      count = min(_IMAGES_PER_BLOCK, max(streams.BLOCK_BYTES // images.row_bytes, 1))
      for order in range(0, images.rows, count):
        pixels = images.read(count)
        table = _make_table(pixels, labels.read(len(pixels)), order, images_path)
        whole = table.append_column(fingerprints.REST, fingerprints.none(table.num_rows))
        yield base.Block(*values.number_rows(whole.select(columns), order), {})
      for file in (images, labels):
        file.read_to_end()


class _Arrays:
  """An IDX file, read some rows at a time.

  Attributes:
    rows: How many it says there are.
    row_bytes: What one takes.
  """

  def __init__(self, file: packed.Stream, path: str, magic: bytes, dtype: np.dtype):
    if not file.head.startswith(magic):
      raise streams.wrong_content(
        path, f'IDX of type {magic[2]} in {magic[3]} dimensions', contents.name_any(file.head)
      )
    self._file, self._path, self._dtype = file, path, dtype
    file.read(len(magic))
    self.rows, *self._shape = np.frombuffer(self._read_bytes(4 * magic[3]), '>u4').tolist()
    self.row_bytes = math.prod(self._shape) * dtype.itemsize
    self._left = self.rows

  def check_shape(self, least: int, most: int) -> None:
    """Raises a DamagedFile unless a row has so many values."""
    found = math.prod(self._shape)
    if not least <= found <= most:
      raise streams.damaged(self._path, f'{found} values in a row')

  def read(self, count: int) -> np.ndarray:
    """Returns the next rows, fewer only at the end."""
    count = min(count, self._left)
    self._left -= count
    with streams.expect_whole(self._path):
      content = self._read_bytes(count * self.row_bytes)
    return np.frombuffer(content, self._dtype).reshape(count, *self._shape)

  def read_to_end(self) -> None:
    """Raises a DamagedFile if there are fewer rows than the file says, or more."""
    while self._left:
      self.read(_IMAGES_PER_BLOCK)
    with streams.expect_whole(self._path):
      if self._file.read(1):
        raise streams.damaged(self._path, f'more than its {self.rows} rows')

  def _read_bytes(self, size: int) -> bytes:
    content = self._file.read(size)
    if len(content) < size:
      raise EOFError('its end is missing')
    return content


@contextlib.contextmanager
def _open(path: str, magic: bytes, dtype: np.dtype) -> Iterator[_Arrays]:
  with contextlib.ExitStack() as stack:
    with streams.expect_whole(path):
      arrays = _Arrays(stack.enter_context(streams.open_unpacked(path)), path, magic, dtype)
    yield arrays


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


def _make_table(images: np.ndarray, labels: np.ndarray, order: int, path: str) -> pa.Table:
  if len(labels) < len(images):
    raise streams.damaged(path, 'more images than labels')
  found = {
    'writer': pa.array(labels[:, _WRITER].astype(np.int64)),
    'order': pa.array(np.arange(order, order + len(images))),
    'image': values.pack_images(images),
    'digit': pa.array(labels[:, _CLASS].astype(np.uint8)),
  }
  return pa.table(found)
