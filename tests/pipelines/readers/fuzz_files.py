"""Small files of every format, whole ones that `fuzzing` damages, and how each is read."""

import bz2
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import functools
import gzip
import io
import json
import lzma
import os
import pathlib
import tempfile
import zipfile
import zlib

import fastavro
import numpy as np
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from contracts import client_shards
from contracts import schema as schema_lib
from pipelines.readers import avro
from pipelines.readers import base
from pipelines.readers import delimited
from pipelines.readers import femnist
from pipelines.readers import idx
from pipelines.readers import jsonl
from pipelines.readers import parquet
from pipelines.readers import tfrecord
from pipelines.shards import shard_writing
from tests.pipelines.readers import fuzz_bombs

_ROWS = [{'user': f'u{number % 7}', 'time': number, 'text': f'hello {number}, "you"\né'} for number in range(40)]
_COLUMNS = ('user', 'time', 'text')


def _plain(content: bytes) -> bytes:
  return content


def _zip(content: bytes) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('log', content)
  return file.getvalue()


def _zstd(content: bytes) -> bytes:
  return pa.Codec('zstd').compress(content, asbytes=True)


_PACKERS = (_plain, _plain, _plain, gzip.compress, bz2.compress, lzma.compress, _zstd, _zip)


@dataclasses.dataclass(frozen=True)
class Format:
  """A format.

  Attributes:
    seeds: Makes whole files.
    read: Reads the content of a file, in a folder, and returns the message with which it is refused, or None.
    packers: How its files are packed.
    bombs: Makes files that ask for more memory than they should get.
  """

  seeds: Callable[[], Sequence[bytes]]
  read: Callable[[bytes, str], str | None]
  packers: Sequence[Callable[[bytes], bytes]] = (_plain,)
  bombs: Callable[[], Sequence[bytes]] = list


def _read(readers: Iterable[base.Reader], columns: Sequence[str], name: str, content: bytes, folder: str) -> str | None:
  """Returns the message of the error with which a file is refused, or None."""
  path = os.path.join(folder, name)
  pathlib.Path(path).write_bytes(content)
  message = None
  for reader in readers:
    try:
      for part in reader.parts(path, 0):
        for block in reader.read(part, columns):
          _validate(block.table)
          if block.table.num_rows != len(block.positions):
            raise AssertionError('rows without positions')
    except base.DamagedFile as error:
      message = str(error)
  return message


def _validate(table: pa.Table) -> None:
  try:
    table.validate(full=True)
  except pa.ArrowInvalid as error:
    # Files say what is text, and nobody makes them keep their word: those who take it for text look.
    if 'Invalid UTF8' not in str(error):
      raise


@functools.cache
def _jsonl() -> Sequence[bytes]:
  lines = [json.dumps(row) for row in _ROWS]
  mixed = [*lines[:5], '{"user": [1, {"a": null}], "time": 1e400, "text": 12345678901234567890123}', '', 'x', '[1]']
  return ['\n'.join(lines).encode(), '\r\n'.join(mixed).encode(), '\n'.join(lines).encode('utf-16')]


@functools.cache
def _csv(delimiter: str = ',') -> Sequence[bytes]:
  quoted = [[str(row[name]).replace('"', '""') for name in _COLUMNS] for row in _ROWS]
  lines = [delimiter.join(_COLUMNS), *(delimiter.join(f'"{value}"' for value in row) for row in quoted)]
  text = '\n'.join(lines)
  plain = delimiter.join(_COLUMNS) + '\r\n' + ''.join(f'u{n}{delimiter}{n}{delimiter}hi "{n}\r\n' for n in range(50))
  return [text.encode(), plain.encode(), text.encode('utf-16')]


@functools.cache
def _parquet() -> Sequence[bytes]:
  nested = pa.array([{'a': [number], 'b': str(number)} for number in range(40)])
  table = pa.Table.from_pylist(_ROWS)
  seeds = []
  for changed, options in (
    (table, {}),
    (table, {'compression': 'zstd', 'use_dictionary': False, 'write_page_checksum': True}),
    (table.set_column(1, 'time', nested), {'row_group_size': 10, 'data_page_version': '2.0'}),
    (table.set_column(2, 'text', table['text'].dictionary_encode()), {'compression': 'none'}),
  ):
    file = io.BytesIO()
    arrow_parquet.write_table(changed, file, **options)
    seeds.append(file.getvalue())
  return seeds


@functools.cache
def _avro() -> Sequence[bytes]:
  inner = {'type': 'record', 'name': 'inner', 'fields': [{'name': 'x', 'type': ['null', 'inner']}]}
  fields = [
    {'name': 'user', 'type': 'string'},
    {'name': 'time', 'type': {'type': 'long', 'logicalType': 'timestamp-millis'}},
    {'name': 'text', 'type': ['null', 'string']},
  ]
  more = [{'name': 'more', 'type': {'type': 'array', 'items': 'double'}}, {'name': 'in', 'type': ['null', inner]}]
  rows = [{**row, 'more': [0.5], 'in': {'x': {'x': None}}} for row in _ROWS]
  seeds = []
  for codec in ('null', 'deflate', 'snappy', 'xz', 'bzip2'):
    for schema_fields in (fields, fields + more):
      file = io.BytesIO()
      fastavro.writer(file, {'type': 'record', 'name': 'log', 'fields': schema_fields}, rows, codec, sync_interval=300)
      seeds.append(file.getvalue())
  return seeds


@functools.cache
def _tfrecord() -> Sequence[bytes]:
  import tensorflow as tf  # Takes seconds.

  content = io.BytesIO()
  for row in _ROWS[:10]:
    features = tf.train.Features(
      feature={
        'user': tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(row['user']).encode()])),
        'time': tf.train.Feature(int64_list=tf.train.Int64List(value=[int(str(row['time']))])),
        'text': tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, 1])),
      }
    )
    content.write(fuzz_bombs.frame(tf.train.Example(features=features).SerializeToString()))
  return [content.getvalue(), zlib.compress(content.getvalue())]


@functools.cache
def _femnist() -> Sequence[bytes]:
  arrays = {'writer_names': np.array(['w1', 'w0']), 'extra_writer_names': np.array(['w2'])}
  for part, writers in (('train', [0, 0, 1]), ('test', [1]), ('extra', [0, 0])):
    arrays[f'{part}_images'] = np.zeros((len(writers), 28, 28), np.uint8)
    arrays[f'{part}_labels'] = np.arange(len(writers), dtype=np.uint8)
    arrays[f'{part}_writer'] = np.array(writers, np.uint16)
  seeds = []
  for save in (np.savez, np.savez_compressed):
    file = io.BytesIO()
    save(file, **arrays)
    seeds.append(file.getvalue())
  return seeds


def _pack_idx(array: np.ndarray, kind: int) -> bytes:
  return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, '>u4').tobytes() + array.tobytes()


@functools.cache
def _idx() -> Sequence[bytes]:
  return [_pack_idx(np.zeros((30, 8), '>i4'), 12), _pack_idx(np.zeros((30, 4, 4), np.uint8), 8)]


def _read_idx(content: bytes, folder: str) -> str | None:
  """Reads damaged labels with whole images, or the other way round."""
  is_images = b'\x08\x03' in content[:8] or (content.startswith(b'\x1f\x8b') and len(content) > 1 << 16)
  labels, images = (_idx()[0], content) if is_images else (content, _idx()[1])
  pathlib.Path(folder, 'train-images-idx3-ubyte').write_bytes(images)
  return _read([idx.Idx()], ('writer', 'order', 'image', 'digit'), 'qmnist-train-labels-idx2-int', labels, folder)


@functools.cache
def _shards() -> Mapping[str, bytes]:
  """Returns the files of a data set."""
  schema = schema_lib.Schema(
    'next_character',
    schema_lib.Feature('characters', 'uint8', (4,)),
    schema_lib.Feature('next_characters', 'int8', (4,)),
    ('<pad>', 'a', 'b'),
  )
  examples = np.ones((3, 4))
  clients = [
    shard_writing.ClientExamples(bytes([place] * 16), split, examples.astype(np.uint8), examples.astype(np.int8))
    for place, split in enumerate(client_shards.SPLITS)
  ]
  with tempfile.TemporaryDirectory() as folder:
    shard_writing.write_data_set(folder, schema, [shard_writing.pack(clients)])
    return {path.name: path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())}


def _read_shards(content: bytes, folder: str) -> str | None:
  """Reads a data set one of whose files is damaged: each in turn."""
  messages: list[str] = []
  path = pathlib.Path(folder, 'shards')
  path.mkdir(exist_ok=True)
  for damaged in _shards():
    for name, whole in _shards().items():
      (path / name).write_bytes(content if name == damaged else whole)
    try:
      data = client_shards.ClientShards(str(path))
      for split in client_shards.SPLITS:
        data.read_all(split)
        for client in range(data.num_clients(split)):
          data.read(split, client)
      data.verify()
    except ValueError as error:
      messages.append(str(error))
  # One of the files may be the one that the content is of.
  wrong = next((message for message in messages if not message.startswith('Expected ')), None)
  return wrong or (messages[0] if len(messages) == len(_shards()) else None)


FORMATS: dict[str, Format] = {
  'jsonl': Format(
    _jsonl,
    functools.partial(_read, [jsonl.JsonLines()], _COLUMNS, 'a.jsonl'),
    _PACKERS,
    lambda: [*fuzz_bombs.text_bombs(), *fuzz_bombs.packed_bombs()],
  ),
  'csv': Format(
    _csv,
    functools.partial(
      _read,
      [delimited.Csv(), delimited.Csv(newlines_in_values=False), delimited.Csv(escape='\\', encoding='cp1252')],
      _COLUMNS,
      'a.csv',
    ),
    _PACKERS,
    fuzz_bombs.text_bombs,
  ),
  'tsv': Format(
    functools.partial(_csv, '\t'),
    functools.partial(_read, [delimited.Tsv(), delimited.Tsv(quote='"')], _COLUMNS, 'a.tsv'),
    _PACKERS,
  ),
  'parquet': Format(
    _parquet, functools.partial(_read, [parquet.Parquet()], _COLUMNS, 'a.parquet'), bombs=fuzz_bombs.parquet_bombs
  ),
  'avro': Format(_avro, functools.partial(_read, [avro.Avro()], _COLUMNS, 'a.avro'), bombs=fuzz_bombs.avro_bombs),
  'tfrecord': Format(
    _tfrecord,
    functools.partial(_read, [tfrecord.TfRecord()], _COLUMNS, 'a.tfrecord'),
    _PACKERS,
    fuzz_bombs.tfrecord_bombs,
  ),
  'femnist': Format(
    _femnist,
    functools.partial(_read, [femnist.Femnist()], ('writer', 'order', 'image', 'character'), 'femnist.npz'),
    bombs=lambda: fuzz_bombs.femnist_bombs(_femnist()[0]),
  ),
  'idx': Format(_idx, _read_idx, _PACKERS, fuzz_bombs.idx_bombs),
  'shards': Format(lambda: list(_shards().values()), _read_shards),
}
