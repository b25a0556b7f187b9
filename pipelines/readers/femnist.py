"""LEAF's FEMNIST, characters by the person who wrote them, from its one file (`femnist_leaf.npz`)."""

from collections.abc import Iterator, Sequence
import dataclasses
import io
import string
import zipfile
import zlib

import numpy as np
import pyarrow as pa

from pipelines import storage
from pipelines.readers import base
from pipelines.readers import lookup
from pipelines.readers import streams
from pipelines.readers import values

_COLUMNS = ('writer', 'order', 'image', 'character')
_SHAPE = (28, 28)
# LEAF numbers them in this order.
_CHARACTERS = np.array([*string.digits, *string.ascii_uppercase, *string.ascii_lowercase])
_PARTS = (('train', 'writer_names'), ('test', 'writer_names'), ('extra', 'extra_writer_names'))
_IMAGES_PER_BLOCK = 8192
_ERRORS = (ValueError, LookupError, zipfile.BadZipFile, zlib.error)


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
      with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
        order = 0
        for name, writer_names in _PARTS:
          for table in _make_tables(arrays, name, writer_names, order):
            yield base.Block(*values.number_rows(table.select(columns), order), {})
            order += table.num_rows


def _make_tables(arrays: np.lib.npyio.NpzFile, part: str, writer_names: str, order: int) -> Iterator[pa.Table]:
  images, labels, writers = (arrays[f'{part}_{name}'] for name in ('images', 'labels', 'writer'))
  names = arrays[writer_names][writers]
  if images.dtype != np.uint8 or images.shape[1:] != _SHAPE or not len(images) == len(labels) == len(names):
    raise ValueError(f'{part} images of {images.dtype} {images.shape}')
  if labels.max(initial=0) >= len(_CHARACTERS) or labels.min(initial=0) < 0:
    raise ValueError(f'{part} labels from {labels.min()} to {labels.max()}')
  for start in range(0, len(images), _IMAGES_PER_BLOCK):
    rows = slice(start, min(start + _IMAGES_PER_BLOCK, len(images)))
    found = {
        'writer': pa.array(names[rows]),
        'order': pa.array(np.arange(order + rows.start, order + rows.stop)),
        'image': values.pack_images(images[rows]),
        'character': pa.array(_CHARACTERS[labels[rows]]),
    }
    yield pa.table(found)
