"""Tests of the on-disk format: what is read is what was written, or an error that names the file."""

import concurrent.futures
import errno
import json
import os
import pathlib
import shutil
import tempfile
import tracemalloc
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import psutil
import pyarrow as pa

from common import sealed_json
from contracts import client_shards
from contracts import schema as schema_lib
from contracts import shard_format
from pipelines.shards import shard_writing

_TEXT = schema_lib.Schema(
  'next_character',
  schema_lib.Feature('characters', 'uint8', (4,)),
  schema_lib.Feature('next_characters', 'int8', (4,)),
  ('<pad>', 'a', 'b'),
)
_IMAGES = schema_lib.Schema(
  'handwriting', schema_lib.Feature('image', 'uint8', (2, 3)), schema_lib.Feature('character', 'int8', ()), ('0', '1')
)


def _client(name: str, split: str, examples: int, schema: schema_lib.Schema = _TEXT) -> shard_writing.ClientExamples:
  rng = np.random.default_rng([examples, *name.encode()])
  features = rng.integers(0, 100, (examples, *schema.feature.shape)).astype(schema.feature.dtype)
  labels = rng.integers(-1, 100, (examples, *schema.label.shape)).astype(schema.label.dtype)
  return shard_writing.ClientExamples(_id(name), split, features, labels)


def _id(name: str) -> bytes:
  return name.encode().ljust(shard_format.ID_BYTES, b'.')


_CLIENTS = (
  (_client('zoe', 'train', 5), _client('zoe', 'tail', 1), _client('bo', 'test', 3)),
  (_client('amy', 'train', 2), _client('amy', 'tail', 1), _client('cy', 'validation', 4)),
)


def _write(path: str, shards: Any = _CLIENTS, schema: schema_lib.Schema = _TEXT) -> client_shards.ClientShards:
  shard_writing.write_data_set(path, schema, list(map(shard_writing.pack, shards)))
  return client_shards.ClientShards(path)


class ClientShardsTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = self.enterContext(tempfile.TemporaryDirectory())

  def test_clients_are_listed_by_id_whatever_their_shard(self) -> None:
    data = _write(self.path)
    self.assertEqual([row.tobytes() for row in data.clients('train').client_ids], [_id('amy'), _id('zoe')])
    self.assertSequenceEqual(data.clients('train').examples.tolist(), [2, 5])
    self.assertEqual((data.num_clients('test'), data.num_examples('train'), data.num_examples('tail')), (1, 7, 2))
    self.assertEqual(data.manifest['splits']['train'], {'clients': 2, 'empty': 0, 'examples': 7})
    self.assertEqual(data.client_id('validation', 0), _id('cy').hex())

  def test_ids_keep_their_zeros_and_sort_as_bytes(self) -> None:
    ids = [bytes(16), b'\x00' * 15 + b'\x01', b'\x7f' + bytes(15), b'\xff' * 15 + b'\x00']
    arrays = _client('amy', 'train', 1)[2:]
    data = _write(self.path, [[shard_writing.ClientExamples(one, 'train', *arrays) for one in reversed(ids)]])
    self.assertEqual([data.client_id('train', place) for place in range(4)], [one.hex() for one in ids])

  @parameterized.product(
    [{'split': written.split, 'written': written} for clients in _CLIENTS for written in clients],
    batch_bytes=[1, 24, 8_000_000],
  )
  def test_read_returns_what_was_written(
    self, split: str, written: shard_writing.ClientExamples, batch_bytes: int
  ) -> None:
    with mock.patch.object(shard_writing, '_BATCH_BYTES', batch_bytes):
      data = _write(self.path)
    place = [row.tobytes() for row in data.clients(split).client_ids].index(written.client_id)
    features, labels = data.read(split, place)
    np.testing.assert_array_equal(features, written.features, strict=True)
    np.testing.assert_array_equal(labels, written.labels, strict=True)
    self.assertFalse(features.flags.writeable)

  def test_images_and_scalar_labels_keep_their_shape(self) -> None:
    written = _client('amy', 'train', 3, _IMAGES)
    data = _write(self.path, [[written]], _IMAGES)
    for features, labels in (data.read('train', 0), data.read_all('train')[:2]):
      np.testing.assert_array_equal(features, written.features, strict=True)
      np.testing.assert_array_equal(labels, written.labels, strict=True)
    self.assertEqual(data.schema, _IMAGES)

  @parameterized.parameters(1, 24, 8_000_000)
  def test_read_all_is_all_reads_one_after_the_other(self, batch_bytes: int) -> None:
    clients = [_client(f'{number:02d}', 'train', number * 7 % 5) for number in range(30)]
    tails = [_client(f'{number:02d}', 'tail', 1) for number in range(30)]
    with mock.patch.object(shard_writing, '_BATCH_BYTES', batch_bytes):
      data = _write(self.path, [[*clients[shard::3], *tails[shard::3]] for shard in range(3)])
    features, labels, numbers = data.read_all('train')
    np.testing.assert_array_equal(features, np.concatenate([client.features for client in clients]), strict=True)
    np.testing.assert_array_equal(labels, np.concatenate([client.labels for client in clients]), strict=True)
    self.assertSequenceEqual(numbers.tolist(), [number for number in range(30) for _ in range(number * 7 % 5)])

  def test_read_entries_takes_any_rows_of_the_index_in_their_order(self) -> None:
    data = _write(self.path)
    rows = data.index.take(pa.array([4, 0, 3]))
    self.assertEqual(rows['split'].to_pylist(), ['validation', 'train', 'tail'])
    expected = [data.read('validation', 0), data.read('train', 0), data.read('tail', 1)]
    for found, parts in zip(data.read_entries(rows), zip(*expected, strict=True), strict=True):
      np.testing.assert_array_equal(found, np.concatenate(parts))

  def test_an_empty_split_has_no_clients_and_empty_arrays(self) -> None:
    data = _write(self.path, [[_client('amy', 'train', 2)]])
    features, labels, numbers = data.read_all('test')
    self.assertEqual((data.num_clients('test'), data.num_examples('test')), (0, 0))
    self.assertEqual((features.shape, labels.shape, numbers.shape), ((0, 4), (0, 4), (0,)))

  def test_a_client_may_be_empty(self) -> None:
    data = _write(self.path, [[_client('amy', 'train', 0)], [_client('bo', 'train', 1), _client('cy', 'train', 0)]])
    self.assertEqual([data.read('train', place)[0].shape for place in range(3)], [(0, 4), (1, 4), (0, 4)])
    self.assertSequenceEqual(data.read_all('train')[2].tolist(), [1])

  def test_many_threads_may_read(self) -> None:
    with mock.patch.object(shard_writing, '_BATCH_BYTES', 100):
      data = _write(self.path, [[_client(f'{number:03d}', 'train', number % 5 + 1) for number in range(100)]])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      found = list(pool.map(lambda index: data.read('train', index % 100)[0], range(1000)))
    for index, features in enumerate(found):
      np.testing.assert_array_equal(features, _client(f'{index % 100:03d}', 'train', index % 100 % 5 + 1).features)

  def test_a_place_beyond_the_last_is_no_client(self) -> None:
    with self.assertRaises(IndexError):
      _write(self.path).read('train', 2)

  def test_opening_makes_nothing_for_each_client(self) -> None:
    examples = np.zeros((30_000, 4), np.uint8)
    ids = np.arange(30_000, dtype='>u8').repeat(2).tobytes()
    content = shard_writing.ShardContent(
      pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), 30_000, [None, pa.py_buffer(ids)]),
      *(np.zeros(30_000, int), np.arange(30_001), examples, examples, np.ones(30_000, int)),
    )
    shard_writing.write_data_set(self.path, _TEXT, [content])
    client_shards.ClientShards(self.path)
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    data = client_shards.ClientShards(self.path)
    self.assertEqual(data.num_clients('train'), 30_000)
    self.assertEqual(data.client_id('train', 7), '0000000000000007' * 2)
    # One object of the smallest kind for each would be 480 kB.
    self.assertLess(tracemalloc.get_traced_memory()[1], 400_000)

  def test_reading_keeps_no_file_open_and_no_example_mapped(self) -> None:
    data = _write(self.path)
    process = psutil.Process()
    before = process.num_fds()
    for split in client_shards.SPLITS:
      data.read(split, 0)
      data.read_all(split)
    self.assertEqual(process.num_fds(), before)
    self.assertEmpty([entry.path for entry in process.memory_maps() if 'shard-' in entry.path])

  def test_a_shard_that_went_meanwhile_is_not_called_damaged(self) -> None:
    data = _write(self.path)
    pathlib.Path(self.path, 'shard-00000-of-00002.arrow').unlink()
    with self.assertRaisesRegex(ValueError, 'shard-00000-of-00002.arrow .* changed meanwhile'):
      data.read('test', 0)

  def test_names_are_those_of_the_manifest(self) -> None:
    written = _write(self.path).read('train', 0)[0]
    manifest = json.loads(pathlib.Path(self.path, 'manifest.json').read_text())
    renamed = {'shard-00001-of-00002.arrow': 'one.arrow', 'index.arrow': 'places.arrow'}
    for old, new in renamed.items():
      os.rename(os.path.join(self.path, old), os.path.join(self.path, new))
    manifest['files'] = {renamed.get(name, name): entry for name, entry in manifest['files'].items()}
    manifest['index'] = 'places.arrow'
    pathlib.Path(self.path, 'manifest.json').write_text(sealed_json.dumps(manifest))
    data = client_shards.ClientShards(self.path)
    np.testing.assert_array_equal(data.read('train', 0)[0], written)
    data.verify()

  def test_data_sets_of_other_content_have_other_fingerprints(self) -> None:
    other = self.enterContext(tempfile.TemporaryDirectory())
    again = self.enterContext(tempfile.TemporaryDirectory())
    first, second, third = _write(self.path), _write(other, _CLIENTS[:1]), _write(again)
    self.assertNotEqual(first.fingerprint, second.fingerprint)
    self.assertEqual(first.fingerprint, third.fingerprint)


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
    noticed = 0
    for place in range(0, len(whole), 7):
      path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
      data = client_shards.ClientShards(self.path)
      with self.assertRaisesRegex(ValueError, 'shard-00001-of-00002.arrow .* other content'):
        data.verify()
      for read in (lambda data: data.read('train', 0), lambda data: data.read_entries(data.index.slice(0, 1))):
        try:
          features, labels = read(data)
        except ValueError as error:
          noticed += 1
          self.assertRegex(str(error), 'shard-00001-of-00002.arrow .* in batch 0')
        else:
          np.testing.assert_array_equal(features, _CLIENTS[1][0].features)
          np.testing.assert_array_equal(labels, _CLIENTS[1][0].labels)
    self.assertGreater(noticed, 20)

  def test_a_flipped_value_is_an_error_that_does_not_name_the_client(self) -> None:
    path = self._file('shard-00001-of-00002.arrow')
    values = _CLIENTS[1][0].features.tobytes()
    whole = path.read_bytes()
    self.assertEqual(whole.count(values), 1)
    path.write_bytes(whole.replace(values, values[:-1] + bytes([values[-1] ^ 1])))
    data = client_shards.ClientShards(self.path)
    for read in (lambda: data.read('train', 0), lambda: data.read_all('train')):
      with self.assertRaises(ValueError) as caught:
        read()
      self.assertIn('shard-00001-of-00002.arrow', str(caught.exception))
      self.assertIn('batch 0', str(caught.exception))
      self.assertNotIn('amy', str(caught.exception))
      self.assertNotIn(_id('amy').hex(), str(caught.exception))
    # Who lies beside it is not touched.
    np.testing.assert_array_equal(data.read('validation', 0)[0], _CLIENTS[1][2].features)

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

  def test_a_shard_cut_after_opening_is_an_error(self) -> None:
    data = client_shards.ClientShards(self.path)
    data.read('train', 0)
    path = self._file('shard-00001-of-00002.arrow')
    path.write_bytes(path.read_bytes()[:64])
    before = psutil.Process().num_fds()
    with self.assertRaisesRegex(ValueError, 'other content in batch 0'):
      data.read('train', 0)
    self.assertEqual(psutil.Process().num_fds(), before)
    error = OSError(errno.EMFILE, 'too many')
    with mock.patch.object(os, 'open', side_effect=error), self.assertRaisesRegex(OSError, 'too many'):
      data.read('train', 0)

  def test_opening_refuses_a_changed_index(self) -> None:
    path = self._file('index.arrow')
    path.write_bytes(path.read_bytes().replace(b'zoe', b'joe'))
    self.assertRaisesRegex(ValueError, 'index.* other content: delete the fold', client_shards.ClientShards, self.path)
    shutil.rmtree(self.path)
    os.mkdir(self.path)
    _write(self.path).verify()

  @parameterized.parameters(
    ({'format': 2}, 'found format 2 of an older version .this one reads format 3.: delete the folder'),
    *(
      ({name: value}, '') for name, value in (('schema', {'task': 'next_character'}), ('files', {}), ('index', 'index'))
    ),
    ({'format': None}, 'found another .this one'),
    ({'index': None}, ''),
  )
  def test_opening_refuses_another_manifest(self, changed: dict[str, Any], found: str) -> None:
    manifest = json.loads(self._file('manifest.json').read_text())
    self._file('manifest.json').write_text(sealed_json.dumps(manifest | changed))
    with self.assertRaisesRegex(ValueError, f'Expected.*{found}'):
      client_shards.ClientShards(self.path)

  def test_a_folder_that_is_not_there(self) -> None:
    self.assertRaisesRegex(ValueError, 'found no manifest.json', client_shards.ClientShards, f'{self.path}/nowhere')


if __name__ == '__main__':
  absltest.main()
