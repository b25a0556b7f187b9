"""Tests of what makes two data sets the same."""

import os
import pathlib
from unittest import mock

from absl.testing import absltest

from pipelines import origin
from pipelines.declarations import declaration as declarations
from pipelines.rows import client_ids

_DECLARATION = """
[partition]
kind = "uniform"
clients = 2
[examples]
kind = "table"
numbers = ["x"]
label = "y"
classes = ["a"]
"""


class OriginTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self.path = self.create_tempfile('log.csv', 'x,y\n1,a\n2,a\n').full_path
    self.dataset = self.create_tempfile('data.toml', _DECLARATION).full_path
    self.key = client_ids.read_key(None, is_public=True)

  def _origin(self, *overrides: str, num_shards: int = 0, key: client_ids.Key | None = None) -> origin.Origin:
    declaration = declarations.read(self.dataset, overrides, [self.path])
    return origin.Origin([self.path], declaration, key or self.key, num_shards)

  def test_names_what_differs(self) -> None:
    first = self._origin().describe()
    self.assertEqual(first, self._origin().describe())
    pathlib.Path(self.path).write_text('x,y\n1,a\n3,a\n')
    others = {
      'declaration': self._origin('partition.seed=1'),
      'num_shards': self._origin(num_shards=3),
      'client_id_key': self._origin(key=client_ids.Key(b'other', 'other')),
    }
    for name, other in others.items():
      described = other.describe()
      self.assertEqual({key for key in first if first[key] != described[key]}, {name, 'input'})

  def test_the_number_of_files_follows_the_size_of_the_input(self) -> None:
    with mock.patch.object(origin, '_SHARD_BYTES', os.path.getsize(self.path) // 3 + 1):
      self.assertEqual(self._origin().num_shards, 3)
      self.assertEqual(self._origin(num_shards=5).num_shards, 5)
    self.assertEqual(self._origin().num_shards, 1)

  def test_the_code_counts(self) -> None:
    before = self._origin().describe()['code_version']
    with mock.patch.object(origin, '_STEPS', ()):
      self.assertNotEqual(self._origin().describe()['code_version'], before)


if __name__ == '__main__':
  absltest.main()
