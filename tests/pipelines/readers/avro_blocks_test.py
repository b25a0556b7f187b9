"""Tests of Avro's blocks: every codec is read, and nothing is believed that a file only claims."""

import bz2
from collections.abc import Callable
import json
import lzma
import pathlib
import tempfile
from typing import Any
from unittest import mock
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import pyarrow as pa

from pipelines.readers import avro
from pipelines.readers import avro_blocks
from pipelines.readers import base
from tests.pipelines.readers import reading

_SYNC = b'0123456789abcdef'
_SCHEMA: dict[str, Any] = {'type': 'record', 'name': 'log', 'fields': [{'name': 'a', 'type': 'string'}]}


def _snappy(content: bytes) -> bytes:
  return pa.Codec('snappy').compress(content, asbytes=True) + zlib.crc32(content).to_bytes(4, 'big')


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
  'null': lambda content: content,
  'deflate': lambda content: zlib.compress(content, wbits=-15),
  'bzip2': bz2.compress,
  'xz': lzma.compress,
  'snappy': _snappy,
  'zstandard': lambda content: pa.Codec('zstd').compress(content, asbytes=True),
}


def _number(number: int) -> bytes:
  number = number << 1 ^ number >> 63
  packed = b''
  while number > 0x7F:
    packed, number = packed + bytes([number & 0x7F | 0x80]), number >> 7
  return packed + bytes([number])


def _text(content: bytes) -> bytes:
  return _number(len(content)) + content


def _header(codec: str = 'null', schema: Any = None) -> bytes:
  entries = {'avro.codec': codec.encode(), 'avro.schema': json.dumps(schema or _SCHEMA).encode()}
  packed = b''.join(_text(key.encode()) + _text(value) for key, value in entries.items())
  return b'Obj\x01' + _number(len(entries)) + packed + _number(0) + _SYNC


def _block(records: int, content: bytes) -> bytes:
  return _number(records) + _text(content) + _SYNC


class BlocksTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), 'log.avro')

  def _read(self, content: bytes) -> list[tuple[Any, ...]]:
    self.path.write_bytes(content)
    return reading.read(avro.Avro(), self.path, 'a').rows

  @parameterized.parameters('null', 'deflate', 'bzip2', 'xz', 'snappy', 'zstandard')
  def test_every_codec_is_read(self, codec: str) -> None:
    pack = _PACKERS[codec]
    blocks = [pack(_text(b'%d' % number) + _text(b'x' * number)) for number in range(200)]
    content = _header(codec) + b''.join(_block(2, block) for block in blocks)
    expected = [(text,) for number in range(200) for text in (str(number), 'x' * number)]
    self.assertEqual(self._read(content), expected)
    if codec in ('null', 'deflate'):
      return
    with self.assertRaisesRegex(base.DamagedFile, 'log.avro damaged'):
      self._read(content[:-30] + b'\xff' + content[-29:])

  def test_a_header_in_several_pieces(self) -> None:
    schema = _text(b'avro.schema') + _text(json.dumps(_SCHEMA).encode())
    # A negative number of entries comes with their size.
    header = b'Obj\x01' + _number(1) + _text(b'x') + _text(b'y') + _number(-1) + _number(len(schema)) + schema
    self.assertEqual(self._read(header + _number(0) + _SYNC + _block(1, _text(b'1'))), [('1',)])

  def test_a_codec_that_is_not_known_is_named(self) -> None:
    expected = "^Expected an Avro file that can be read, found .*log.avro with a codec 'lz4': write it with one of "
    with self.assertRaisesRegex(base.DamagedFile, expected) as caught:
      self._read(_header('lz4') + _block(1, b'x'))
    for codec in str(caught.exception).rpartition('one of ')[2].rstrip('.').split(', '):
      self.assertEqual(self._read(_header(codec) + _block(1, _PACKERS[codec](_text(b'x')))), [('x',)])

  def test_a_header_that_is_too_large_is_written_with_less(self) -> None:
    self.enterContext(mock.patch.object(avro_blocks, '_HEADER_BYTES', 1000))
    schema = {**_SCHEMA, 'doc': 'x' * 1000}
    with self.assertRaisesRegex(base.DamagedFile, 'a header of more than 1000 bytes: write it with less metadata'):
      self._read(_header(schema=schema) + _block(1, _text(b'x')))
    self.assertEqual(self._read(_header() + _block(1, _text(b'x'))), [('x',)])

  @parameterized.parameters(
    (_block(1 << 40, _text(b'x')), 'a block of 2 bytes that claims 1099511627776 records'),
    (_block(-1, _text(b'x')), 'claims -1 records'),
    (_number(1) + _number(1 << 60) + b'x' + _SYNC, 'its end is missing'),
    (_number(1) + _number(-5) + b'x' + _SYNC, 'its end is missing'),
    (b'\xff' * 11, 'a number of more than 64 bits'),
    (_block(1, _number(1 << 50)), ''),
    (_block(2, _text(b'x')), ''),
    (_block(1, _text(b'x'))[:-1], 'its end is missing'),
    (_block(1, _text(b'x'))[:-1] + b'!', 'a block without its mark'),
  )
  def test_what_cannot_be_is_damage(self, blocks: bytes, message: str) -> None:
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected a readable file, found .*log.avro damaged .*{message}'):
      self._read(_header() + _block(1, _text(b'x')) + blocks)

  def test_records_that_take_no_bytes_can_be_many_but_not_any_number(self) -> None:
    schema = {'type': 'record', 'name': 'log', 'fields': [{'name': 'a', 'type': 'null'}]}
    self.assertLen(self._read(_header(schema=schema) + _block(70_000, b'')), 70_000)
    with self.assertRaisesRegex(base.DamagedFile, 'claims 1099511627776 records'):
      self._read(_header(schema=schema) + _block(1 << 40, b''))

  @parameterized.parameters('deflate', 'bzip2', 'xz', 'snappy', 'zstandard')
  def test_a_block_that_unpacks_to_too_much_is_not_unpacked(self, codec: str) -> None:
    pack = _PACKERS[codec]
    self.enterContext(mock.patch.object(avro_blocks, '_BLOCK_BYTES', 1000))
    self.assertLen(self._read(_header(codec) + _block(1, pack(_text(b'x' * 900)))), 1)
    with self.assertRaisesRegex(base.DamagedFile, 'with a block that unpacks to more than 1000 bytes: write smaller'):
      self._read(_header(codec) + _block(2, pack(_text(b'x' * 500) * 2)))
    smaller = _block(1, pack(_text(b'x' * 500)))
    self.assertEqual(self._read(_header(codec) + smaller * 2), [('x' * 500,)] * 2)

  @parameterized.parameters(
    ({'type': {'type': 'array', 'items': 'null'}}, 'lists of values that take no bytes: remove'),
    ({'type': {'type': 'array', 'items': {'type': 'fixed', 'name': 'f', 'size': 0}}}, 'lists of values that take no'),
    ({'type': {'type': 'record', 'name': 'r', 'fields': [{'name': 'x', 'type': 'null'}]}}, 'records that take no'),
  )
  def test_a_schema_whose_values_may_grow_without_end_is_refused(self, field: dict[str, Any], message: str) -> None:
    schema = {**_SCHEMA, 'fields': [{'name': 'a', 'type': 'string'}, {'name': 'b', **field}]}
    with self.assertRaisesRegex(base.DamagedFile, f'^Expected an Avro file that can be read, found .* with {message}'):
      self._read(_header(schema=schema))
    fields = [one for one in schema['fields'] if one['name'] != 'b']
    self.assertEqual(self._read(_header(schema={**schema, 'fields': fields}) + _block(1, _text(b'x'))), [('x',)])

  def test_values_within_values_are_read_but_not_to_any_depth(self) -> None:
    fields = [{'name': 'a', 'type': 'string'}, {'name': 'next', 'type': ['null', 'log']}]
    header = _header(schema={**_SCHEMA, 'fields': fields})
    for depth in (1, 50):
      self.assertEqual(self._read(header + _block(1, (_text(b'x') + b'\2') * depth + _text(b'y') + b'\0')), [('x',)])
    with self.assertRaisesRegex(base.DamagedFile, 'with values too deep within values: write flat records'):
      self._read(header + _block(1, (_text(b'x') + b'\2') * 100_000 + _text(b'y') + b'\0'))
    self.assertEqual(self._read(_header() + _block(101, _text(b'x') * 100 + _text(b'y'))), [('x',)] * 100 + [('y',)])

  def test_records_that_double_are_refused(self) -> None:
    kind: Any = {'type': 'record', 'name': 'r0', 'fields': [{'name': 'a', 'type': 'string'}]}
    for number in range(1, 30):
      names = [{'name': 'x', 'type': kind}, {'name': 'y', 'type': f'r{number - 1}'}]
      kind = {'type': 'record', 'name': f'r{number}', 'fields': names}
    with self.assertRaisesRegex(base.DamagedFile, 'records of more than 100000 values: write flat records'):
      self._read(_header(schema=kind))
    fields = [{'name': 'a', 'type': 'string'}, *({'name': f'a{number}', 'type': 'string'} for number in range(1, 30))]
    flat = _header(schema={**_SCHEMA, 'fields': fields})
    self.assertEqual(self._read(flat + _block(1, _text(b'x') * 30)), [('x',)])

  def test_a_schema_of_great_depth_is_refused(self) -> None:
    kind: Any = 'string'
    for _ in range(100):
      kind = {'type': 'array', 'items': kind}
    with self.assertRaisesRegex(base.DamagedFile, 'types within types, more than 64 deep: write flat records'):
      self._read(_header(schema={**_SCHEMA, 'fields': [{'name': 'a', 'type': kind}]}))
    self.assertEqual(self._read(_header() + _block(1, _text(b'x'))), [('x',)])

  def test_ordinary_schemas_are_allowed(self) -> None:
    inner = {'type': 'record', 'name': 'log2', 'fields': [{'name': 'x', 'type': ['null', 'int']}]}
    fields = [
      {'name': 'a', 'type': 'string'},
      {'name': 'b', 'type': {'type': 'array', 'items': inner}},
      {'name': 'c', 'type': {'type': 'map', 'values': 'log2'}},
      {'name': 'd', 'type': {'type': 'long', 'logicalType': 'timestamp-millis'}},
      {'name': 'e', 'type': {'type': 'enum', 'name': 'kind', 'symbols': ['A']}},
      {'name': 'f', 'type': 'null'},
    ]
    self.assertEmpty(self._read(_header(schema={**_SCHEMA, 'fields': fields})))


if __name__ == '__main__':
  absltest.main()
