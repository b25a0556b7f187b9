"""Tests of the on-disk format: what is read is what was written, or an error that names the file."""

import concurrent.futures
import json
import os
import pathlib
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from pipelines import client_shards
from pipelines import files
from pipelines import schema as schema_lib

_TEXT = schema_lib.Schema(
    'next_character',
    schema_lib.Feature('characters', 'uint8', (4,)),
    schema_lib.Feature('next_characters', 'int8', (4,)),
    ('<pad>', 'a', 'b'),
)
_IMAGES = schema_lib.Schema(
    'handwriting', schema_lib.Feature('image', 'uint8', (2, 3)), schema_lib.Feature('character', 'int8', ()), ('0', '1')
)


def _client(
    client_id: str, split: str, examples: int, schema: schema_lib.Schema = _TEXT
) -> client_shards.ClientExamples:
  rng = np.random.default_rng([examples, *client_id.encode()])
  features = rng.integers(0, 100, (examples, *schema.feature.shape)).astype(schema.feature.dtype)
  labels = rng.integers(-1, 100, (examples, *schema.label.shape)).astype(schema.label.dtype)
  return client_shards.ClientExamples(client_id, split, features, labels)


_CLIENTS = (
    (_client('zoe', 'train', 5), _client('zoe', 'tail', 1), _client('bo', 'test', 3)),
    (_client('amy', 'train', 2), _client('amy', 'tail', 1)),
)


def _write(path: str, shards: Any = _CLIENTS, schema: schema_lib.Schema = _TEXT) -> client_shards.ClientShards:
  tables, entries = [], {}
  for shard, clients in enumerate(shards):
    name = client_shards.shard_name(shard, len(shards))
    with files.open_atomically(os.path.join(path, name)) as file:
      tables.append(client_shards.write_shard(file, shard, schema, clients))
    entries[name] = files.describe(os.path.join(path, name))
  index = client_shards.write_index(path, tables)
  entries[client_shards.INDEX_NAME] = files.describe(os.path.join(path, client_shards.INDEX_NAME))
  details = {'files': entries, 'splits': client_shards.count_splits(index)}
  client_shards.write_manifest(path, schema, details)
  return client_shards.ClientShards(path)


class ClientShardsTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.path = self.enterContext(tempfile.TemporaryDirectory())

  def _file(self, name: str) -> pathlib.Path:
    return pathlib.Path(self.path, name)

  def test_clients_are_listed_by_id_whatever_their_shard(self) -> None:
    data = _write(self.path)
    self.assertSequenceEqual(data.clients('train').client_id.tolist(), ['amy', 'zoe'])
    self.assertSequenceEqual(data.clients('train').examples.tolist(), [2, 5])
    self.assertEqual((data.num_clients('test'), data.num_examples('train'), data.num_examples('tail')), (1, 7, 2))
    self.assertEqual(data.manifest['splits']['train'], {'clients': 2, 'examples': 7})

  def test_read_returns_what_was_written(self) -> None:
    data = _write(self.path)
    for split, index, shard, batch in (('train', 1, 0, 0), ('tail', 0, 1, 1), ('test', 0, 0, 2)):
      written = _CLIENTS[shard][batch]
      features, labels = data.read(split, index)
      np.testing.assert_array_equal(features, written.features, strict=True)
      np.testing.assert_array_equal(labels, written.labels, strict=True)

  def test_images_and_scalar_labels_keep_their_shape(self) -> None:
    written = _client('amy', 'train', 3, _IMAGES)
    data = _write(self.path, [[written]], _IMAGES)
    features, labels = data.read('train', 0)
    np.testing.assert_array_equal(features, written.features, strict=True)
    np.testing.assert_array_equal(labels, written.labels, strict=True)
    self.assertEqual(data.schema, _IMAGES)

  def test_read_all_numbers_the_clients(self) -> None:
    data = _write(self.path)
    features, labels, numbers = data.read_all('train')
    self.assertSequenceEqual(numbers.tolist(), [0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(features[2:], _CLIENTS[0][0].features)
    np.testing.assert_array_equal(labels[:2], _CLIENTS[1][0].labels)

  def test_an_empty_split_has_no_clients_and_empty_arrays(self) -> None:
    data = _write(self.path, [[_client('amy', 'train', 2)]])
    features, labels, numbers = data.read_all('test')
    self.assertEqual((data.num_clients('test'), data.num_examples('test')), (0, 0))
    self.assertEqual((features.shape, labels.shape, numbers.shape), ((0, 4), (0, 4), (0,)))

  def test_the_same_clients_give_the_same_bytes(self) -> None:
    other = self.enterContext(tempfile.TemporaryDirectory())
    first, second = _write(self.path), _write(other)
    self.assertEqual(first.manifest, second.manifest)

  def test_any_arrow_reader_opens_a_shard_and_finds_the_schema(self) -> None:
    _write(self.path)
    reader = pa.ipc.open_file(pa.memory_map(str(self._file('shard-00000-of-00002.arrow'))))
    self.assertEqual(reader.num_record_batches, 3)
    self.assertEqual(reader.schema.names, ['characters', 'next_characters'])
    self.assertEqual(schema_lib.Schema.from_json(json.loads(reader.schema.metadata[b'pocketfed.schema'])), _TEXT)

  def test_many_threads_may_read(self) -> None:
    data = _write(self.path, [[_client(f'{number:03d}', 'train', number % 5 + 1) for number in range(100)]])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      found = list(pool.map(lambda index: data.read('train', index % 100)[0], range(1000)))
    for index, features in enumerate(found):
      np.testing.assert_array_equal(features, _client(f'{index % 100:03d}', 'train', index % 100 % 5 + 1).features)

  def test_a_place_beyond_the_last_is_no_client(self) -> None:
    with self.assertRaises(IndexError):
      _write(self.path).read('train', 2)


class DamagedShardsTest(parameterized.TestCase):

  def setUp(self) -> None:
    super().setUp()
    self.path = self.enterContext(tempfile.TemporaryDirectory())
    _write(self.path)

  def _file(self, name: str) -> pathlib.Path:
    return pathlib.Path(self.path, name)

  def test_every_flipped_byte_of_a_shard_is_noticed_or_harmless(self) -> None:
    path = self._file('shard-00001-of-00002.arrow')
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
      path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1:])
      data = client_shards.ClientShards(self.path)
      with self.assertRaisesRegex(ValueError, 'shard-00001-of-00002.arrow .* other content'):
        data.verify()
      try:
        features, labels = data.read('train', 0)
      except ValueError as error:
        self.assertRegex(str(error), 'shard-00001-of-00002.arrow .* in batch 0')
      else:
        np.testing.assert_array_equal(features, _CLIENTS[1][0].features)
        np.testing.assert_array_equal(labels, _CLIENTS[1][0].labels)

  def test_a_flipped_value_is_an_error_that_does_not_name_the_client(self) -> None:
    path = self._file('shard-00001-of-00002.arrow')
    values = _CLIENTS[1][0].features.tobytes()
    whole = path.read_bytes()
    self.assertEqual(whole.count(values), 1)
    path.write_bytes(whole.replace(values, values[:-1] + bytes([values[-1] ^ 1])))
    with self.assertRaises(ValueError) as caught:
      client_shards.ClientShards(self.path).read('train', 0)
    self.assertIn('shard-00001-of-00002.arrow', str(caught.exception))
    self.assertIn('batch 0', str(caught.exception))
    self.assertNotIn('amy', str(caught.exception))

  @parameterized.named_parameters(
      ('missing_shard', 'shard-00001-of-00002.arrow', None, 'no such file'),
      ('cut_shard', 'shard-00000-of-00002.arrow', slice(0, -8), 'bytes instead of'),
      ('missing_index', 'index.arrow', None, 'no such file'),
      ('missing_manifest', 'manifest.json', None, 'found no manifest.json'),
      ('cut_manifest', 'manifest.json', slice(0, 100), 'no valid JSON'),
  )
  def test_opening_refuses(self, name: str, kept: slice | None, message: str) -> None:
    content = self._file(name).read_bytes()
    if kept is None:
      self._file(name).unlink()
    else:
      self._file(name).write_bytes(content[kept])
    with self.assertRaisesRegex(ValueError, message):
      client_shards.ClientShards(self.path)

  def test_opening_refuses_a_changed_index(self) -> None:
    path = self._file('index.arrow')
    path.write_bytes(path.read_bytes().replace(b'zoe', b'joe'))
    with self.assertRaisesRegex(ValueError, 'index.arrow .* other content'):
      client_shards.ClientShards(self.path)

  @parameterized.parameters({'format': 2}, {'files': {}}, {'schema': {'task': 'next_character'}}, {'format': None})
  def test_opening_refuses_another_manifest(self, **changed: Any) -> None:
    manifest = json.loads(self._file('manifest.json').read_text())
    self._file('manifest.json').write_text(json.dumps(manifest | changed))
    with self.assertRaisesRegex(ValueError, 'Expected'):
      client_shards.ClientShards(self.path)

  def test_a_folder_that_is_not_there(self) -> None:
    with self.assertRaisesRegex(ValueError, 'found no manifest.json'):
      client_shards.ClientShards(os.path.join(self.path, 'nowhere'))


if __name__ == '__main__':
  absltest.main()
