"""Tests of writing: what goes into which batch, what the index and the manifest say, and that bytes do not vary."""

import io
import itertools
import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from common import files
from contracts import client_shards
from contracts import schema as schema_lib
from contracts import shard_format
from pipelines.shards import shard_writing

_SCHEMA = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'uint8', (4,)),
  schema_lib.Feature('next_characters', 'int8', (4,)),
  ('<pad>', 'a', 'b'),
)


def _client(number: int, split: str, examples: int) -> shard_writing.ClientExamples:
  features = np.full((examples, 4), number, np.uint8)
  return shard_writing.ClientExamples(bytes([number]) * 16, split, features, features.astype(np.int8))


_CLIENTS = (_client(2, 'test', 3), _client(1, 'tail', 1), _client(1, 'train', 5), _client(3, 'validation', 4))


def _write_shard(content: shard_writing.ShardContent, batch_bytes: int = 8_000_000) -> tuple[bytes, pa.Table]:
  file = io.BytesIO()
  with mock.patch.object(shard_writing, '_BATCH_BYTES', batch_bytes):
    index = shard_writing.write_shard(file, 7, _SCHEMA, content)
  return file.getvalue(), index


class ShardWritingTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = self.enterContext(tempfile.TemporaryDirectory())

  def test_packing_sorts_by_client_and_split(self) -> None:
    content = shard_writing.pack(_CLIENTS)
    self.assertEqual([one[0] for one in content.client_ids.to_pylist()], [1, 1, 2, 3])
    self.assertEqual([client_shards.SPLITS[code] for code in content.splits], ['train', 'tail', 'test', 'validation'])
    self.assertEqual(content.starts.tolist(), [0, 5, 6, 9, 13])
    self.assertEqual(content.features[:, 0].tolist(), [1] * 6 + [2] * 3 + [3] * 4)
    self.assertEqual(content.rows.tolist(), [6, 0, 3, 4])

  def test_index_rows_say_where_each_entry_is(self) -> None:
    content = shard_writing.pack(_CLIENTS)
    written, index = _write_shard(content, batch_bytes=8 * 8)
    reader = pa.ipc.open_file(written)
    self.assertEqual(set(index['shard'].to_pylist()), {7})
    self.assertEqual(index['rows'].to_pylist(), [6, 0, 3, 4])
    self.assertEqual(index['client_id'].to_pylist(), content.client_ids.to_pylist())
    for row, (start, stop) in zip(index.to_pylist(), itertools.pairwise(content.starts), strict=True):
      record = reader.get_batch(row['batch']).slice(row['start'], row['examples'])
      self.assertEqual(record['characters'].to_pylist(), content.features[start:stop].tolist())
      self.assertEqual(record['next_characters'].to_pylist(), content.labels[start:stop].tolist())

  @parameterized.parameters(
    (1, [0, 1, 2, 3]),
    (6 * 8, [0, 0, 1, 2]),
    (7 * 8, [0, 0, 1, 1]),
    (9 * 8 - 1, [0, 0, 1, 1]),
    (9 * 8, [0, 0, 0, 1]),
    (13 * 8, [0, 0, 0, 0]),
    (8_000_000, [0, 0, 0, 0]),
  )
  def test_a_batch_is_full_or_holds_one_large_entry(self, batch_bytes: int, batches: list[int]) -> None:
    _, index = _write_shard(shard_writing.pack(_CLIENTS), batch_bytes)
    self.assertEqual(index['batch'].to_pylist(), batches)

  def test_any_arrow_reader_opens_a_shard_and_finds_the_schema(self) -> None:
    written, _ = _write_shard(shard_writing.pack(_CLIENTS))
    reader = pa.ipc.open_file(written)
    self.assertEqual(reader.read_all().num_rows, 13)
    self.assertEqual(reader.schema.names, ['characters', 'next_characters'])
    found = schema_lib.Schema.from_json(json.loads(reader.schema.metadata[b'pocketfed.schema']))
    self.assertEqual(found, _SCHEMA)

  def test_arrays_become_what_the_schema_says(self) -> None:
    content = shard_writing.pack(_CLIENTS)
    wide = content._replace(features=content.features.astype(np.int64), labels=np.asfortranarray(content.labels))
    self.assertEqual(_write_shard(wide)[0], _write_shard(content)[0])

  def test_a_shard_may_have_no_entries(self) -> None:
    content = shard_writing.pack(_CLIENTS)
    empty = shard_writing.ShardContent(
      content.client_ids[:0],
      content.splits[:0],
      content.starts[:1],
      content.features[:0],
      content.labels[:0],
      content.rows[:0],
    )
    written, index = _write_shard(empty)
    self.assertEqual((pa.ipc.open_file(written).num_record_batches, index.num_rows), (0, 0))
    shard_writing.write_data_set(self.path, _SCHEMA, [empty])
    self.assertEqual(client_shards.ClientShards(self.path).num_clients('train'), 0)

  def test_the_index_is_sorted_by_split_and_id(self) -> None:
    _, first = _write_shard(shard_writing.pack(_CLIENTS))
    _, second = _write_shard(shard_writing.pack([_client(0, 'test', 1), _client(0x90, 'train', 2)]))
    index = shard_writing.write_index(self.path, [second, first])
    self.assertEqual(index['split'].to_pylist(), ['train', 'train', 'tail', 'validation', 'test', 'test'])
    self.assertEqual([one[0] for one in index['client_id'].to_pylist()], [1, 0x90, 1, 3, 0, 2])
    self.assertEqual(pa.ipc.open_file(os.path.join(self.path, 'index.arrow')).read_all(), index)
    self.assertEqual(shard_writing.count_splits(index)['train'], {'clients': 2, 'examples': 7, 'empty': 0})

  def test_the_order_in_which_shards_are_done_changes_no_byte(self) -> None:
    tables = [_write_shard(shard_writing.pack([client]))[1] for client in _CLIENTS]
    for name, order in (('one', tables), ('other', tables[::-1])):
      shard_writing.write_index(self.path, order, name)
    one, other = (pathlib.Path(self.path, name).read_bytes() for name in ('one', 'other'))
    self.assertEqual(one, other)

  def test_the_same_clients_give_the_same_bytes(self) -> None:
    contents = []
    for order in (_CLIENTS, _CLIENTS[::-1]):
      path = self.enterContext(tempfile.TemporaryDirectory())
      shard_writing.write_data_set(path, _SCHEMA, [shard_writing.pack(order)])
      contents.append({file.name: file.read_bytes() for file in pathlib.Path(path).iterdir()})
    self.assertEqual(*contents)

  def test_the_manifest_tells_shards_from_the_index(self) -> None:
    manifest = shard_writing.write_data_set(self.path, _SCHEMA, [shard_writing.pack(_CLIENTS)] * 2)
    self.assertEqual(manifest, client_shards.read_manifest(self.path))
    shards = {name: entry.get('shard') for name, entry in manifest['files'].items()}
    self.assertEqual(shards, {'index.arrow': None, 'shard-00000-of-00002.arrow': 0, 'shard-00001-of-00002.arrow': 1})
    self.assertEqual(manifest['index'], 'index.arrow')
    self.assertEqual(manifest['rows'], {'read': 26, 'used': 26, 'bounded': 0, 'quarantined': {}})
    path = os.path.join(self.path, 'shard-00001-of-00002.arrow')
    self.assertEqual(manifest['files']['shard-00001-of-00002.arrow'], files.describe(path) | {'shard': 1})

  def test_writes_where_it_is_told(self) -> None:
    opened = mock.Mock(side_effect=lambda path: files.open_atomically(os.path.join(self.path, os.path.basename(path))))
    manifest = shard_writing.write_data_set(self.path, _SCHEMA, [])
    shard_writing.write_index('far://away', [], open_file=opened)
    shard_writing.write_manifest('far://away', _SCHEMA, manifest, opened)
    self.assertEqual(
      [call.args[0] for call in opened.mock_calls], ['far://away/index.arrow', 'far://away/manifest.json']
    )

  @parameterized.parameters('shard-00001-of-00002.arrow', 'shard-00001-of-00002.g41.arrow')
  def test_a_new_generation_has_a_new_name_that_is_ours(self, name: str) -> None:
    renamed = shard_writing.name_of_generation(name, 42)
    self.assertEqual(renamed, 'shard-00001-of-00002.g42.arrow')
    for ours in (name, renamed, f'{renamed}.123.part', 'index.g3.arrow', 'manifest.json.7.part'):
      self.assertTrue(shard_writing.OUR_FILES.fullmatch(ours), ours)
    self.assertFalse(shard_writing.OUR_FILES.fullmatch('notes.arrow'))


class IdsTest(absltest.TestCase):
  def test_an_id_of_another_length_is_refused(self) -> None:
    arrays = _client(1, 'train', 1)[2:]
    with self.assertRaises(pa.ArrowInvalid):
      shard_writing.pack([shard_writing.ClientExamples(b'short', 'train', *arrays)])
    self.assertEqual(shard_format.ID_BYTES, 16)


if __name__ == '__main__':
  absltest.main()
