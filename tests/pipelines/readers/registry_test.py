"""Tests of the formats' names."""

import dataclasses
import gzip

from absl.testing import absltest
from absl.testing import parameterized

from pipelines.readers import registry


class RegistryTest(parameterized.TestCase):
  @parameterized.parameters(
    ('logs/a.jsonl', 'jsonl'),
    ('gs://bucket/a.NDJSON.zst', 'jsonl'),
    ('a.json', 'jsonl'),
    ('a.csv.gz', 'csv'),
    ('a.b.tsv', 'tsv'),
    ('part-0.snappy.parquet', 'parquet'),
    ('a.avro', 'avro'),
    ('a.tfrecord.gz', 'tfrecord'),
    ('a.tfrecord-00000-of-00010', 'tfrecord'),
    ('femnist/femnist_leaf.npz', 'femnist'),
    ('qmnist-train-labels-idx2-int.gz', 'idx'),
  )
  def test_a_name_says_the_format(self, path: str, expected: str) -> None:
    self.assertEqual(registry.detect([path, path]), expected)

  @parameterized.parameters('log', 'log.gz', 'log.txt', 'csv', 'a.csv/part-0', 'other.npz')
  def test_a_name_that_says_none(self, path: str) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected a file that says its format, found .*: set format .*\.$'):
      registry.detect(['a.csv', path])

  def test_files_of_two_formats(self) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected files of one format, found a.csv and b.jsonl: .*\.$'):
      registry.detect(['a.csv', 'c.csv', 'b.jsonl'])

  def test_readers_are_values(self) -> None:
    for reader in registry.FORMATS.values():
      self.assertTrue(dataclasses.is_dataclass(reader))
      self.assertEqual(reader(), reader())


class ContentTest(parameterized.TestCase):
  def _detect(self, name: str, content: bytes) -> str:
    return registry.detect([self.create_tempfile(name, content, mode='wb').full_path])

  @parameterized.parameters(
    (b'PAR1', 'parquet'),
    (b'Obj\x01', 'avro'),
    (b'\0\0\x0c\2', 'idx'),
    (bytes.fromhex('01000000000000000175de4161786ee428'), 'tfrecord'),
    (b'{"a": 1}\n', 'jsonl'),
    (b'a,b\n', 'csv'),
    (b'a\tb\n', 'tsv'),
    (gzip.compress(b'{"a": 1}\n'), 'jsonl'),
    ('a\tb\n'.encode('utf-16'), 'tsv'),
  )
  def test_content_says_it_where_the_name_is_silent(self, content: bytes, expected: str) -> None:
    self.assertEqual(self._detect('part-0', content), expected)

  @parameterized.parameters(
    ('a.csv', b'PAR1', 'parquet'),
    ('a.csv', b'{"a": 1}\n', 'jsonl'),
    ('a.parquet', b'Obj\x01', 'avro'),
    ('a.csv', b'a;b\n', 'csv'),
    ('a.tsv', b'a,b\n', 'tsv'),
    ('a.jsonl', b'broken, line\n', 'jsonl'),
    ('a.jsonl', b'', 'jsonl'),
  )
  def test_content_says_it_where_the_name_is_wrong(self, name: str, content: bytes, expected: str) -> None:
    self.assertEqual(self._detect(name, content), expected)

  def test_what_is_no_log_is_called_what_it_is(self) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected a file that says its format, found scan .a PNG image.: set'):
      self._detect('scan', b'\x89PNG\r\n\x1a\n')


if __name__ == '__main__':
  absltest.main()
