"""Tests of the memory that the pages of a Parquet file take, by their headers."""

import io
import pathlib
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from pipelines.readers import base
from pipelines.readers import parquet
from pipelines.readers import parquet_pages
from tests.pipelines.readers import reading

_MEBI = 1 << 20


class ParquetPagesTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.create_tempdir().full_path) / 'log.parquet'
    # 16 MiB of text, which a codec makes very small.
    self.table = pa.table({'user': ['u'] * 64, 'text': [letter * (_MEBI >> 2) for letter in 'abcd' * 16]})

  def _write(self, **options: Any) -> None:
    arrow_parquet.write_table(self.table, self.path, use_dictionary=False, write_statistics=False, **options)

  def test_large_pages_of_a_small_file_are_refused_and_smaller_ones_are_read(self) -> None:
    self._write(compression='zstd', data_page_size=1 << 30)
    self.assertLess(self.path.stat().st_size, _MEBI)
    with mock.patch.object(parquet_pages, 'MOST_BYTES', 8 * _MEBI):
      message = '^Expected the pages .* at most 8 MiB of memory, found 16 MiB in .*log.parquet: write it again with'
      with self.assertRaisesRegex(base.DamagedFile, f'{message} .* data_page_size and write_batch_size[.]$'):
        reading.read(parquet.Parquet(), self.path, 'text')
      self.assertLen(reading.read(parquet.Parquet(), self.path, 'user').rows, 64)
      self._write(compression='zstd', data_page_size=_MEBI, write_batch_size=4)
      self.assertLen(reading.read(parquet.Parquet(), self.path, 'text').rows, 64)
    self._write(compression='zstd', data_page_size=1 << 30)
    self.assertLen(reading.read(parquet.Parquet(), self.path, 'text').rows, 64)

  def test_a_large_file_may_take_more(self) -> None:
    self._write(compression='none', data_page_size=1 << 30)
    with mock.patch.object(parquet_pages, 'MOST_BYTES', 1):
      self.assertLen(reading.read(parquet.Parquet(), self.path, 'text').rows, 64)

  def test_the_pages_of_all_columns_count_with_their_dictionaries(self) -> None:
    wide = pa.array(['x' * 100_000, 'y' * 100_000] * 32)
    arrow_parquet.write_table(
      pa.table({'a': wide, 'b': [{'c': text} for text in wide.to_pylist()]}), self.path, compression='gzip'
    )
    for limit, columns, is_read in ((300_000, ['a'], True), (300_000, ['b.c'], True), (300_000, ['a', 'b.c'], False)):
      with self.subTest(columns), mock.patch.object(parquet_pages, 'MOST_BYTES', limit):
        if is_read:
          reading.read(parquet.Parquet(), self.path, *columns)
        else:
          with self.assertRaisesRegex(base.DamagedFile, 'Expected the pages'):
            reading.read(parquet.Parquet(), self.path, *columns)

  @parameterized.parameters(
    {'compression': 'zstd'},
    {'compression': 'gzip', 'use_dictionary': False, 'write_page_checksum': True},
    {'compression': 'brotli', 'data_page_version': '2.0', 'write_page_index': True},
    {'compression': 'lz4', 'use_dictionary': ['text'], 'column_encoding': {'number': 'BYTE_STREAM_SPLIT'}},
  )
  def test_the_headers_add_up_to_what_the_footer_says(self, **options: Any) -> None:
    numbers = np.random.default_rng(0).normal(size=50_000)
    columns = {'text': list(map(str, range(50_000))), 'number': numbers, 'list': [[number] * 3 for number in numbers]}
    file = io.BytesIO()
    arrow_parquet.write_table(pa.table(columns), file, row_group_size=30_000, data_page_size=1 << 16, **options)
    metadata = arrow_parquet.read_metadata(file)
    groups = parquet_pages.read_chunks(file)
    self.assertLen(groups, metadata.num_row_groups)
    for group, own in enumerate(groups):
      self.assertLen(own, metadata.num_columns)
      for column, ours in enumerate(own):
        chunk = metadata.row_group(group).column(column)
        found = (ours.path, ours.values, ours.packed)
        self.assertEqual(found, (chunk.path_in_schema, chunk.num_values, chunk.total_compressed_size))
        pages = []
        with mock.patch.object(parquet_pages, '_read_page', wraps=parquet_pages._read_page) as read:
          parquet_pages._measure(file, ours)
          pages = [parquet_pages._read_page(*call.args) for call in list(read.call_args_list)]
        self.assertEqual(sum(page.header + page.packed for page in pages), chunk.total_compressed_size)
        self.assertEqual(sum(page.header + page.unpacked for page in pages), chunk.total_uncompressed_size)
        self.assertEqual(sum(page.values for page in pages), chunk.num_values)

  def test_a_footer_that_ends_pyarrow_is_refused_or_read(self) -> None:
    # As column() of pyarrow's metadata does, which aborts the process over sizes that contradict each other.
    file = io.BytesIO()
    arrow_parquet.write_table(pa.table({'list': [[1], [2, 3]]}), file)
    whole = file.getvalue()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], 'little')
    refused = 0
    for place in range(footer, len(whole) - 8):
      for value in (*range(0, 256, 3), whole[place] ^ 255):
        damaged = io.BytesIO(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
          for chunks in parquet_pages.read_chunks(damaged):
            parquet_pages.check('log.parquet', damaged, chunks)
        except (pa.ArrowInvalid, base.DamagedFile):
          refused += 1
    self.assertGreater(refused, 1000)

  @parameterized.parameters('codec', 'values', 'packed', 'start')
  def test_a_struct_in_place_of_a_number_of_the_footer(self, name: str) -> None:
    places = {'codec': 4, 'values': 5, 'packed': 7, 'start': 9}
    description: dict[int, Any] = {3: [b'text'], **dict.fromkeys(places.values(), 1)}
    self.assertEqual(parquet_pages._chunk(description), parquet_pages.Chunk('text', 1, 1, 1, 1))
    with self.assertRaises(TypeError):
      parquet_pages._chunk({**description, places[name]: {}})

  @parameterized.named_parameters(
    ('no_end', b'\x15\x00' * 40, 'has no end'),
    ('no_end_of_a_number', b'\x15' + b'\xff' * 99, 'of type 15'),
    ('a_number_in_place_of_a_struct', b'\x15\x00\x15\x02\x15\x02\x25\x02\x00', 'without its size'),
    ('a_negative_size', b'\x15\x04\x15\x01\x15\x02\x00', 'without its size'),
    ('a_struct_in_place_of_its_kind', b'\x1c\x00\x00', 'without its kind'),
    ('no_size', b'\x15\x00\x00', 'without its size'),
    ('a_long_list', b'\x19\xf1\xff\xff\xff\xff\x7f', 'has no end'),
    ('too_deep', b'\x1c' * 99 + b'\x00' * 100, 'too deep'),
    ('an_unknown_type', b'\x1f\x00', 'of type 15'),
  )
  def test_damaged_headers(self, content: bytes, message: str) -> None:
    with self.assertRaisesRegex(pa.ArrowInvalid, message):
      parquet_pages._read_page(io.BytesIO(content), 0)


if __name__ == '__main__':
  absltest.main()
