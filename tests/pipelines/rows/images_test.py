"""Tests of reading images: every way to say the same pixels, and what is none."""

import base64
import io
import struct
from typing import Any
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import numpy as np
from PIL import Image
import pyarrow as pa

from pipelines.rows import images

_PIXELS = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)


def _seen(read: images.Pixels) -> list[Any]:
  """Returns each row as its pixels, or as why it has none."""
  if (read.wrong_size & read.unreadable).any():
    raise AssertionError('A row has two reasons.')
  seen: list[Any] = [pixels.tolist() for pixels in read.pixels]
  for row in range(len(seen)):
    if read.wrong_size[row] or read.unreadable[row]:
      seen[row] = 'wrong size' if read.wrong_size[row] else 'no image'
  return seen


def _file(image: Image.Image, file_format: str = 'PNG', **options: Any) -> bytes:
  file = io.BytesIO()
  image.save(file, file_format, **options)
  return file.getvalue()


def _read_bytes(*content: bytes | None) -> list[Any]:
  return _seen(images.from_bytes(pa.array(content, pa.large_binary()), 3, 4))


def _read_lists(values: list[Any], arrow_type: pa.DataType | None = None) -> list[Any]:
  return _seen(images.from_lists(pa.array(values, arrow_type), 3, 4))


class FromBytesTest(parameterized.TestCase):
  def test_raw_bytes(self) -> None:
    raw = _PIXELS.tobytes()
    self.assertSequenceEqual(_read_bytes(raw, raw[:-1], b'', raw[::-1]), [[*raw], 'no image', 'no image', [*raw[::-1]]])

  def test_a_slice_of_raw_bytes(self) -> None:
    values = pa.array([b'', _PIXELS.tobytes(), b'\x01' * 12, None], pa.large_binary())
    self.assertSequenceEqual(_seen(images.from_bytes(values[1:3], 3, 4)), [[*_PIXELS.tobytes()], [1] * 12])

  @parameterized.parameters('L', 'RGB', 'RGBA', 'LA', 'P')
  def test_a_png_of_any_mode_is_grey(self, mode: str) -> None:
    content = _file(Image.fromarray(_PIXELS).convert(mode))
    self.assertSequenceEqual(_read_bytes(content), [[*_PIXELS.tobytes()]])

  def test_what_shows_through_is_white(self) -> None:
    ink = Image.new('RGBA', (4, 3), (0, 0, 0, 0))
    ink.putpixel((1, 0), (0, 0, 0, 255))
    self.assertSequenceEqual(_read_bytes(_file(ink)), [[255, 0, *[255] * 10]])

  def test_a_jpeg(self) -> None:
    ((pixel, *others),) = _read_bytes(_file(Image.new('L', (4, 3), 77), 'JPEG'))
    self.assertEqual({pixel, *others}, {77})

  def test_raw_bytes_that_begin_like_a_jpeg(self) -> None:
    raw = b'\xff\xd8\xff' + bytes(9)
    self.assertSequenceEqual(_read_bytes(raw), [[*raw]])

  def test_a_file_that_is_as_long_as_the_pixels_are_many_is_a_file(self) -> None:
    content = _file(Image.fromarray(_PIXELS))
    read = images.from_bytes(pa.array([content], pa.large_binary()), 1, len(content))
    self.assertSequenceEqual(_seen(read), ['wrong size'])

  def test_files_that_are_refused(self) -> None:
    image = Image.fromarray(_PIXELS)
    deep = Image.fromarray(_PIXELS.astype(np.uint16) * 256)
    refused = _read_bytes(_file(image.resize((3, 4))), _file(deep), _file(image, 'GIF'), _file(image)[:50], b'\x89PNG')
    self.assertSequenceEqual(refused, ['wrong size', *['no image'] * 4])

  @hypothesis.settings(deadline=None, max_examples=300)
  @hypothesis.given(strategies.sampled_from(['PNG', 'JPEG']), strategies.data())
  def test_a_damaged_file_is_no_exception(self, file_format: str, data: strategies.DataObject) -> None:
    content = bytearray(_file(Image.fromarray(_PIXELS), file_format))
    for _ in range(data.draw(strategies.integers(1, 4))):
      content[data.draw(strategies.integers(0, len(content) - 1))] = data.draw(strategies.integers(0, 255))
    self.assertLen(_read_bytes(bytes(content[: data.draw(strategies.integers(0, len(content)))])), 1)


class FromListsTest(parameterized.TestCase):
  @parameterized.parameters((pa.uint8(),), (pa.int64(),), (pa.float16(),), (pa.float64(),), (pa.decimal128(5, 1),))
  def test_flat_and_nested(self, leaf: pa.DataType) -> None:
    flat = _PIXELS.ravel().tolist()
    if not pa.types.is_decimal(leaf):
      for make in (pa.list_, pa.large_list, lambda values: pa.list_(values, 12)):
        self.assertSequenceEqual(_read_lists([flat, None, flat], make(leaf)), [flat, 'no image', flat])
      self.assertSequenceEqual(_read_lists([_PIXELS.tolist()], pa.list_(pa.list_(leaf))), [flat])
      self.assertSequenceEqual(_read_lists([_PIXELS.tolist()], pa.list_(pa.list_(leaf, 4), 3)), [flat])
      self.assertSequenceEqual(_read_lists([_PIXELS[..., np.newaxis].tolist()]), [flat])
    else:
      self.assertSequenceEqual(_read_lists([flat], pa.list_(leaf)), ['no image'])

  def test_list_views(self) -> None:
    content = pa.array([*range(12), *range(12, 0, -1)], pa.int16())
    values = pa.ListViewArray.from_arrays(pa.array([12, 0, 6], pa.int32()), pa.array([12, 12, 3], pa.int32()), content)
    expected = [[*range(12, 0, -1)], [*range(12)], 'wrong size']
    self.assertSequenceEqual(_seen(images.from_lists(values, 3, 4)), expected)

  def test_each_row_is_judged_alone(self) -> None:
    good = _PIXELS.tolist()
    ragged = [*good[:2], good[2][:3]]
    transposed = _PIXELS.T.tolist()
    large, half, hole = ([[value, *good[0][1:]], *good[1:]] for value in (256.0, 0.5, None))
    seen = _read_lists([good, ragged, [], None, transposed, large, half, hole, [*good[:2], None], good])
    flat, wrong, none = _PIXELS.ravel().tolist(), 'wrong size', 'no image'
    self.assertSequenceEqual(seen, [flat, wrong, wrong, none, wrong, none, none, none, none, flat])

  @parameterized.parameters(
    ([['a'] * 12],), ([[True] * 12],), ([[[[[0]]]]],), ([{'a': 1}],), ([7],), ([[None] * 12],), ([[np.nan] * 12],)
  )
  def test_what_is_no_image(self, values: list[Any]) -> None:
    self.assertSequenceEqual(_read_lists(values), ['no image'])


class FromBase64Test(absltest.TestCase):
  def test_bytes_come_back(self) -> None:
    png = _file(Image.fromarray(_PIXELS))
    for content in (png, _PIXELS.tobytes(), _file(Image.fromarray(_PIXELS), 'JPEG'), bytes(range(248, 256))):
      text = base64.b64encode(content).decode()
      forms = [text, text.rstrip('='), base64.urlsafe_b64encode(content).decode(), f' {text[:9]}\r\n{text[9:]}\n']
      forms += [f'data:image/png;base64,{text}', f'data:image/jpeg;charset=utf-8;base64,{text}']
      self.assertEqual(images.from_base64(pa.array(forms)).to_pylist(), [content] * len(forms))

  def test_what_is_no_base64_is_nothing(self) -> None:
    texts = [None, 'a', 'é' * 4, 'abc!', 'data:text/plain,abcd', '\x00abc']
    self.assertEqual(images.from_base64(pa.array(texts)).to_pylist(), [None] * len(texts))

  def test_a_png_of_great_size_is_not_unpacked(self) -> None:
    header = struct.pack('>IIBBBBB', 1 << 30, 1 << 30, 8, 0, 0, 0, 0)
    chunk = b'IHDR' + header
    png = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', len(header)) + chunk + struct.pack('>I', zlib.crc32(chunk))
    self.assertEqual(_read_bytes(png), ['no image'])


if __name__ == '__main__':
  absltest.main()
