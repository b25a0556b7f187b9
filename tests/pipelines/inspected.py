"""A small data set whose figures can be counted by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from contracts import client_shards
from contracts import schema as schema_lib
from contracts import shard_format
from pipelines.shards import shard_writing

SCHEMA = schema_lib.Schema(
  'classification',
  schema_lib.Feature('features', 'float32', (2,)),
  schema_lib.Feature('label', 'int8', ()),
  ('walk', 'sit', 'run'),
)
# By client and split, its labels; the shards are two.
_LABELS = (
  {
    ('amy', 'train'): [0] * 4,
    ('amy', 'tail'): [1],
    ('bo', 'train'): [0, 0, 0, 1, -1] * 5,
    ('cy', 'test'): [2, 2],
  },
  {('dan', 'train'): [1, 0], ('eve', 'validation'): [1, 1, 1]},
)
ACCOUNT: dict[str, Any] = {
  'rows': {'read': 60, 'used': 37, 'bounded': 12, 'quarantined': {'no_label': 1, 'duplicate_row': 10}},
  'bounded_by': {'max_examples_per_client': 12},
  'clients_set_aside': {'too_little_data': 3},
  'notes': {'outside_vocabulary': 4_321},
  'warnings': ['The numbers in "<x>" are far from 1.'],
  'limits': {'keep': 'first', 'max_examples_per_client': 1_000},
  'learned': [{'what': 'scaling <of> x', 'source': 'dp', 'epsilon': 0.5, 'delta': 1e-6, 'histogram': [1, 2]}],
  'forgotten': [{'clients': 2, 'asked': 2, 'shards': [1], 'date': '2026-01-01T00:00:00+00:00'}],
}


def make_id(name: str) -> bytes:
  return name.encode().ljust(shard_format.ID_BYTES, b'.')


def _entry(name: str, split: str, labels: list[int]) -> shard_writing.ClientExamples:
  features = np.arange(2 * len(labels), dtype=np.float32).reshape(-1, 2)
  return shard_writing.ClientExamples(make_id(name), split, features, np.array(labels, np.int8))


def write(folder: str, empty: Sequence[str] = ()) -> client_shards.ClientShards:
  """Writes the data set into a folder that is there, with `empty` training users besides, who have no examples."""
  by_shard = [_LABELS[0] | {(name, 'train'): [] for name in empty}, *_LABELS[1:]]
  shards = [shard_writing.pack([_entry(*place, labels) for place, labels in shard.items()]) for shard in by_shard]
  manifest = shard_writing.write_data_set(folder, SCHEMA, shards)
  details = {key: value for key, value in manifest.items() if key not in ('format', 'schema')}
  shard_writing.write_manifest(folder, SCHEMA, details | ACCOUNT)
  return client_shards.ClientShards(folder)
