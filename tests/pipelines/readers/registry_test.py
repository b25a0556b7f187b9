"""Tests of the formats' names."""

import dataclasses

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
    with self.assertRaisesRegex(ValueError, r'^Expected a file name that says its format, found .*: set format .*\.$'):
      registry.detect(['a.csv', path])

  def test_files_of_two_formats(self) -> None:
    with self.assertRaisesRegex(ValueError, r'^Expected files of one format, found a.csv and b.jsonl: .*\.$'):
      registry.detect(['a.csv', 'c.csv', 'b.jsonl'])

  def test_readers_are_values(self) -> None:
    for reader in registry.FORMATS.values():
      self.assertTrue(dataclasses.is_dataclass(reader))
      self.assertEqual(reader(), reader())


if __name__ == '__main__':
  absltest.main()
