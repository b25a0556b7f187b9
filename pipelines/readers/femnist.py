"""LEAF's FEMNIST, characters by the person who wrote them, from its one file (`femnist_leaf.npz`)."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
import string
import tokenize
from typing import IO
import zipfile
import zlib

import numpy as np
import pyarrow as pa

from pipelines.execution import storage
from pipelines.readers import base
from pipelines.readers import contents
from pipelines.readers import fingerprints
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values

_COLUMNS = ('writer', 'order', 'image', 'character')
_SHAPE = (28, 28)
# LEAF numbers them in this order.
_CHARACTERS = np.array([*string.digits, *string.ascii_uppercase, *string.ascii_lowercase])
_PARTS = (('train', 'writer_names'), ('test', 'writer_names'), ('extra', 'extra_writer_names'))
_IMAGES_PER_BLOCK = 8192
# Of all labels or names, and of one name: LEAF's take a hundredth of it.
_ARRAY_BYTES = 256 << 20
_NAME_BYTES = 1 << 12
# What NumPy raises over a damaged header, and zipfile over a damaged archive.
_ERRORS = (
  ValueError,
  LookupError,
  TypeError,
  SyntaxError,
  RecursionError,
  NotImplementedError,
  RuntimeError,
  OverflowError,
  tokenize.TokenError,
  zipfile.BadZipFile,
  zlib.error,
)


@dataclasses.dataclass(frozen=True)
class Femnist(base.Reader):
  """Reads the columns `writer`, `order`, `image` (784 bytes) and `character` (such as `a`).

  Takes the complete writers, their training images before their test images, and the writers that the file calls
  extra. LEAF's own division of a writer's images is not used: it has images on both sides.
  """

  def parts(self, path: str, file: int) -> Iterator[base.Part]:
    yield base.Part(path, file)

  def read(self, part: base.Part, columns: Sequence[str]) -> Iterator[base.Block]:
    with streams.expect_whole(part.path, _ERRORS), storage.open_stream(part.path) as file:
      lookup.check(part.path, columns, _COLUMNS)
      head = file.read(contents.HEAD_BYTES)
      if not head.startswith(b'PK'):
        raise streams.wrong_content(part.path, 'the arrays of LEAF', contents.name_any(head))
      with zipfile.ZipFile(file) as archive:
        order = 0
        for name, writer_names in _PARTS:
          for table in _make_tables(archive, name, writer_names, order):
            whole = table.append_column(fingerprints.REST, fingerprints.none(table.num_rows))
            yield base.Block(*values.number_rows(whole.select(columns), order), {})
            order += table.num_rows


class _Array:
  """An array of the archive, of which only the header was read: what it says of its size may be anything."""

  def __init__(self, archive: zipfile.ZipFile, name: str):
    self._file: IO[bytes] = archive.open(f'{name}.npy')
    if np.lib.format.read_magic(self._file) != (1, 0):
      raise ValueError(f'{name} with a header of another form')
    self.shape, is_transposed, self.dtype = np.lib.format.read_array_header_1_0(self._file)
    if is_transposed or self.dtype.hasobject:
      raise ValueError(f'{name} of another form')
    self._name = name

  def __len__(self) -> int:
    return int(self.shape[0]) if self.shape else 0

  def read(self, rows: int) -> np.ndarray:
    """Returns the next rows."""
    size = rows * math.prod(self.shape[1:]) * self.dtype.itemsize
    if size > _ARRAY_BYTES:
      raise ValueError(f'{self._name} of {size} bytes')
    # Nothing is allocated before it is there.
    content = self._file.read(size)
    if len(content) < size:
      raise EOFError('its end is missing')
    return np.frombuffer(content, self.dtype).reshape(rows, *self.shape[1:])

  def close(self) -> None:
    """Checks that nothing comes after the last row, and the checksum."""
    if self._file.read(1):
      raise ValueError(f'{self._name} with more than its {len(self)} rows')

  def read_all(self, kinds: str, item_bytes: int) -> np.ndarray:
    """Returns a list of values of some kinds of NumPy's."""
    if len(self.shape) != 1 or self.dtype.kind not in kinds or not 0 < self.dtype.itemsize <= item_bytes:
      raise ValueError(f'{self._name} of {self.dtype} {self.shape}')
    found = self.read(len(self))
    self.close()
    return found


def _make_tables(archive: zipfile.ZipFile, part: str, writer_names: str, order: int) -> Iterator[pa.Table]:
  images = _Array(archive, f'{part}_images')
  labels, writers = (_Array(archive, f'{part}_{name}').read_all('iu', 8) for name in ('labels', 'writer'))
  names = _Array(archive, writer_names).read_all('U', _NAME_BYTES)
  if images.dtype != np.uint8 or images.shape[1:] != _SHAPE or not len(images) == len(labels) == len(writers):
    raise ValueError(f'{part} images of {images.dtype} {images.shape}')
  for numbers, what, stop in ((labels, 'labels', len(_CHARACTERS)), (writers, 'writers', len(names))):
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < stop:
      raise ValueError(f'{part} {what} from {numbers.min()} to {numbers.max()}')
  for start in range(0, len(images), _IMAGES_PER_BLOCK):
    rows = slice(start, min(start + _IMAGES_PER_BLOCK, len(images)))
    found = {
      'writer': pa.array(names[writers[rows]]),
      'order': pa.array(np.arange(order + rows.start, order + rows.stop)),
      'image': values.pack_images(images.read(rows.stop - rows.start)),
      'character': pa.array(_CHARACTERS[labels[rows]]),
    }
    yield pa.table(found)
  images.close()
