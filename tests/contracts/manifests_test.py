"""Tests that no changed manifest is taken for one of ours: each change is one clear line."""

from collections.abc import Iterator
import copy
import json
import os
import pathlib
import random
import tempfile
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized

from common import sealed_json
from contracts import client_shards
from contracts import formats
from contracts import manifests
from contracts import schema as schema_lib
from pipelines.declarations import declaration as declarations
from tests import layout
from tests.pipelines import inspected

_LINE = (
  r'\AExpected the manifest.json that the data set in .* was made with, found [^\n]+: '
  r'delete the folder and run [^\n]+\Z'
)
_VALUES: tuple[Any, ...] = (None, True, -1, 0, 1 << 70, 1.5, 'x', '', '../x', [], {}, [None], {'x': None})


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
  """Yields where each value inside of `value` is."""
  items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
  for key, below in items:
    yield (*path, key)
    yield from _paths(below, (*path, key))


def _changed(manifest: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
  """Returns the manifest with another value at a place, or without what is there if the value is an Ellipsis."""
  changed = copy.deepcopy(manifest)
  table = changed
  for key in path[:-1]:
    table = table[key]
  if value is ...:
    del table[path[-1]]
  else:
    table[path[-1]] = value
  return changed


class ManifestsTest(parameterized.TestCase):
  content: bytes
  folder: str

  def setUp(self) -> None:
    super().setUp()
    self.folder = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'shards')
    os.mkdir(self.folder)
    inspected.write(self.folder)
    self._path = pathlib.Path(self.folder, client_shards.MANIFEST_NAME)
    self.content = self._path.read_bytes()

  def _refuse(self, content: bytes) -> None:
    self._path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, _LINE):
      client_shards.ClientShards(self.folder)

  def test_what_is_written_is_read(self) -> None:
    self.assertEqual(manifests.parse(self.content)['format'], formats.MANIFEST)
    client_shards.ClientShards(self.folder)

  def test_every_changed_byte_is_noticed(self) -> None:
    draw = random.Random(0)
    for _ in range(200):
      content, place = bytearray(self.content), draw.randrange(len(self.content))
      kind = draw.randrange(3)
      if kind == 0:
        content[place] ^= 1 << draw.randrange(8)
      elif kind == 1:
        content.insert(place, draw.randrange(256))
      else:
        del content[place : place + draw.randrange(1, 100)]
      self._refuse(bytes(content))

  def test_every_changed_value_is_noticed(self) -> None:
    manifest = json.loads(self.content)
    for path in _paths(manifest):
      for value in (*_VALUES, ...):
        changed = _changed(manifest, path, value)
        if json.dumps(changed, sort_keys=True) != json.dumps(manifest, sort_keys=True):
          self._refuse(json.dumps(changed, indent=1, sort_keys=True).encode() + b'\n')

  def test_a_changed_value_with_a_right_checksum_is_no_traceback(self) -> None:
    manifest = json.loads(self.content)
    refused = 0
    for path in _paths(manifest):
      for value in (*_VALUES, ...):
        self._path.write_text(sealed_json.dumps(_changed(manifest, path, value)))
        try:
          client_shards.ClientShards(self.folder)
        except ValueError as error:
          self.assertNotIn('\n', str(error))
          refused += 1
    self.assertGreater(refused, 100)

  @parameterized.parameters('files', 'index', 'rows', 'schema', 'splits')
  def test_a_missing_key_is_named(self, key: str) -> None:
    manifest = json.loads(self.content)
    del manifest[key]
    with self.assertRaisesRegex(ValueError, f'no {key}'):
      manifests.parse(sealed_json.dumps(manifest).encode())

  def test_splits_are_those_of_the_format(self) -> None:
    self.assertEqual(client_shards.SPLITS, manifests.SPLITS)
    self.assertIsInstance(client_shards.ClientShards(self.folder).schema, schema_lib.Schema)

  @parameterized.parameters(
    ({}, True),
    ({'splits': {'tail': 'last'}}, True),
    ({'splits': {'tail': 'random'}}, False),
    ({'partition': {}}, False),
  )
  def test_examples_have_an_order_if_the_tail_is_the_last_ones(self, declaration: dict, is_ordered: bool) -> None:
    self.assertEqual(manifests.is_ordered({'declaration': declaration}), is_ordered)
    self.assertTrue(manifests.is_ordered({}))

  @parameterized.parameters(
    (128, 64, 1), (128, 50, 2), (128, 128, 0), (128, 200, 0), (5, 1, 4), (None, 1, 0), (5, 0, 0)
  )
  def test_counts_the_windows_that_an_example_reaches_into(self, length: int | None, stride: int, count: int) -> None:
    manifest = {'declaration': {'examples': {'length': length, 'stride': stride}}}
    self.assertEqual(manifests.count_overlapping(manifest), count)
    self.assertEqual(manifests.count_overlapping({}), 0)

  def test_what_a_job_declares_is_found(self) -> None:
    found = {}
    for name in ('phone_motion', 'femnist', 'mnist_dirichlet'):
      declaration = declarations.read(str(layout.ROOT / 'configs' / 'datasets' / f'{name}.toml'), [], [])
      manifest = {'declaration': json.loads(json.dumps(declaration.to_json()))}
      found[name] = manifests.is_ordered(manifest), manifests.count_overlapping(manifest)
    self.assertEqual(found, {'phone_motion': (True, 1), 'femnist': (False, 0), 'mnist_dirichlet': (False, 0)})


if __name__ == '__main__':
  absltest.main()
