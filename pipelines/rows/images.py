"""Grey images from what files hold: raw bytes, lists of numbers, PNG and JPEG."""

import base64
import io
import math
import re
import struct
from typing import NamedTuple
import zlib

import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rows import casts

_FORMATS = ('PNG', 'JPEG')
_PNG, _JPEG, _JPEG_END = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff', b'\xff\xd9'
# What Pillow raises over a damaged file: it has no one name for it.
_DAMAGED = (OSError, ValueError, SyntaxError, IndexError, KeyError, TypeError, EOFError, struct.error, zlib.error)
_DATA_URL = re.compile(r'^\s*data:[^,]*;base64,')
_URL_SAFE = str.maketrans('-_', '+/')
_BIT_DEPTH_IS_8 = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr')


class Pixels(NamedTuple):
  """Images as read.

  Attributes:
    pixels: uint8 `[rows, height * width]`; anything at all where a row is refused.
    wrong_size: bool `[rows]`: images of another height or width.
    unreadable: bool `[rows]`: what is no image.
  """

  pixels: np.ndarray
  wrong_size: np.ndarray
  unreadable: np.ndarray


def from_bytes(values: pa.LargeBinaryArray, height: int, width: int) -> Pixels:
  """Reads grey values, a byte each, and the content of PNG and JPEG files."""
  fits = casts.to_mask(pc.equal(pc.binary_length(values), height * width))
  is_png, is_jpeg = (casts.to_mask(pc.starts_with(values, pattern)) for pattern in (_PNG, _JPEG))
  # Raw pixels can begin like a JPEG, though hardly end like one as well.
  is_file = is_png | is_jpeg & (~fits | casts.to_mask(pc.ends_with(values, _JPEG_END)))
  is_raw = fits & ~is_file
  found = Pixels(np.zeros((len(values), height * width), np.uint8), np.zeros_like(fits), ~fits & ~is_file)
  _, _, content = values.filter(pa.array(is_raw)).buffers()
  size = np.count_nonzero(is_raw) * height * width
  found.pixels[is_raw] = np.frombuffer(content or b'', np.uint8)[:size].reshape(-1, height * width)
  for row in np.flatnonzero(is_file):
    pixels = _decode(values[row].as_py(), height, width)
    if pixels is None:
      found.unreadable[row] = True
    elif pixels.shape != (height, width):
      found.wrong_size[row] = True
    else:
      found.pixels[row] = pixels.ravel()
  return found


def from_base64(values: pa.Array) -> pa.LargeBinaryArray:
  """Returns the bytes that texts hold in base64, perhaps after the head of a `data:` URL; null where they hold none."""
  return pa.array([_decode_base64(text) for text in values.to_pylist()], pa.large_binary())


def from_lists(values: pa.Array, height: int, width: int) -> Pixels:
  """Reads lists of whole numbers from 0 to 255: flat, by rows, or by rows with one channel. Other types are refused."""
  rows = len(values)
  shape = {1: (height * width,), 2: (height, width), 3: (height, width, 1)}.get(_depth(values.type), ())
  if not shape:
    return Pixels(np.zeros((rows, height * width), np.uint8), np.zeros(rows, bool), np.ones(rows, bool))
  wrong_size, unreadable = np.zeros(rows, bool), np.zeros(rows, bool)
  owner = np.arange(rows)  # The row that each of the values is in.
  for length in shape:
    lengths = pc.list_value_length(values)
    unreadable[owner[casts.to_mask(lengths.is_null())]] = True
    wrong_size[owner[casts.to_mask(pc.not_equal(lengths, length))]] = True
    owner = np.repeat(owner, lengths.fill_null(0).to_numpy())
    values = pc.list_flatten(values)
  numbers = _to_numbers(values)
  is_grey = (numbers >= 0) & (numbers <= 255) & (np.rint(numbers) == numbers)
  unreadable[owner[~is_grey]] = True
  good = ~wrong_size & ~unreadable
  pixels = np.zeros((rows, height * width), np.uint8)
  pixels[good] = numbers[good[owner]].reshape(-1, height * width)
  return Pixels(pixels, wrong_size & ~unreadable, unreadable)


def _decode_base64(text: str | None) -> bytes | None:
  if text is None:
    return None
  digits = ''.join(_DATA_URL.sub('', text).split()).translate(_URL_SAFE).rstrip('=')
  try:
    return base64.b64decode(digits + '=' * (-len(digits) % 4), validate=True)
  except ValueError:
    return None


def _depth(arrow_type: pa.DataType) -> int:
  """Returns how many lists of lists a type is."""
  types = pa.types
  is_list = types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type)
  is_list |= types.is_list_view(arrow_type) or types.is_large_list_view(arrow_type)
  return 1 + _depth(arrow_type.value_type) if is_list else 0


def _to_numbers(values: pa.Array) -> np.ndarray:
  """Returns numbers as they are or as float64, NaN for what is none."""
  if pa.types.is_integer(values.type) and not values.null_count:
    return values.to_numpy()
  if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
  return np.full(len(values), math.nan)


def _decode(content: bytes, height: int, width: int) -> np.ndarray | None:
  """Returns the image in a file as uint8 `[height, width]`, or empty if it is of another size; None if damaged."""
  try:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
      if file.mode not in _BIT_DEPTH_IS_8:
        return None
      if file.size != (width, height):
        return np.empty((0, 0), np.uint8)
      if not file.has_transparency_data:
        return np.asarray(file.convert('L'))
      # What shows through is paper: ink on nothing must not become ink on ink.
      paper = Image.new('RGBA', file.size, 'white')
      return np.asarray(Image.alpha_composite(paper, file.convert('RGBA')).convert('L'))
  except (*_DAMAGED, Image.DecompressionBombError):
    return None
